"""Plain names: of networks, and of the files that a card may speak of."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))}


def check_plain(argument, value):
    """Refuse what is not a plain name, for such a name cannot lead out of its directory.

    Args:
        argument: str, what the name is of, for the message.
        value: the name; letters, digits, `.`, `_`, `+`, `-`, beginning with a letter or a digit.

    Raises:
        ValueError: if it is anything else, or a name that Windows keeps for a device.
    """
    is_plain = isinstance(value, str) and _PLAIN.fullmatch(value) and not value.endswith(".")
    if not is_plain or value.split(".")[0].lower() in _DEVICES:
        raise ValueError(
            f"`{argument}` must be a plain name of at most 100 letters, digits, '.', '_', '+' and '-', "
            f"beginning with a letter or a digit. Received: {argument}={value!r}"
        )
