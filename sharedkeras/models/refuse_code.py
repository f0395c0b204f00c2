"""Code inside of networks' files."""


class CodeError(ValueError):
    """A file holds code and is not trusted."""


def refuse_code(config, path):
    """Refuse a network's configuration that holds code, which would run on this machine.

    Args:
        config: the configuration as nested dicts and lists.
        path: of the file, for the message.

    Raises:
        CodeError: if there is a Lambda layer with a function of its own, or a `TFSMLayer`, which runs
            whatever the SavedModel that it names holds.
    """
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            inner = value.get("config")
            older = isinstance(inner, dict) and inner.get("function_type") == "lambda"
            if value.get("class_name") == "TFSMLayer":
                raise CodeError(
                    "Expected no code, and a TFSMLayer runs the SavedModel that it names: "
                    f"{inner.get('filepath') if isinstance(inner, dict) else None!r}. If both are your "
                    f"own or you trust their maker, pass trust=True (--trust). Received: path={path}"
                )
            if value.get("class_name") == "__lambda__" or older:
                raise CodeError(
                    "Expected no code, and a Lambda layer is Python code of whoever made it, which runs "
                    "when the network is loaded. If the file is your own or you trust its maker, pass "
                    f"trust=True (--trust). Received: path={path}"
                )
            left += value.values()
        elif isinstance(value, list):
            left += value
