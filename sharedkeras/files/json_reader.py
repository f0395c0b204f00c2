"""One reader for every JSON file: bounded, strict, and clear about what it expected."""

import json
import math

from sharedkeras.files.bounded import read_bytes

_MAX_BYTES = 256 * 1024**2
_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def read_json(path, *, what, entries=None, file_format=None, max_bytes=_MAX_BYTES):
    """Read a JSON file that must hold an object.

    Duplicate keys, NaN and infinity are refused, since readers disagree on what they mean.

    Args:
        path: of the file.
        what: str, what the file should be, for messages: "the config.json of a run".
        entries: dict from the name of a required entry to its type, or a tuple of types; of `dict`,
            `list`, `str`, `bool`, `int`, `float` (which takes integers too) and `type(None)`.
        file_format: str, what the entry `format` must be, or None if it need not be there.
        max_bytes: int, the largest size accepted.

    Returns:
        Dict.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is anything else; the message names it and what was expected.
    """
    data = read_bytes(path, what=what, max_bytes=max_bytes)
    return parse_json(data, where=path, what=what, entries=entries, file_format=file_format)


def parse_json(text, *, where, what, entries=None, file_format=None, root=dict):
    """Parse JSON text as `read_json` does.

    Args:
        text: str or UTF-8 bytes.
        where: path or address that the text comes from, for messages.
        what: as of `read_json`.
        entries: as of `read_json`.
        file_format: as of `read_json`.
        root: type that the text must hold, of those of `entries`; None takes any.

    Returns:
        What the text says, a dict unless `root` is another.

    Raises:
        ValueError: if the text is anything else; the message names its origin and what was expected.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes | bytearray) else text
        tree = json.loads(
            text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant
        )
        if root is not None and type(tree) is not root:
            raise ValueError(f"expected {_NAMES[root]}, and it holds {_NAMES[type(tree)]}")
        _check(tree, entries or {}, file_format)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(
            f"Expected {what} in JSON, and it is damaged or another: {reason}. Received: path={where}"
        ) from error
    return tree


def _object(pairs):
    tree = dict(pairs)
    if len(tree) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"expected each entry once, and {twice} is there more than once")
    return tree


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected finite numbers, and {text[:40]} is none")
    return value


def _refuse_constant(name):
    raise ValueError(f"expected strict JSON, which has no {name}")


def _check(tree, entries, file_format):
    if file_format is not None and tree.get("format") != file_format:
        raise ValueError(
            f"expected the entry format to be {file_format!r}, and it is {_short(tree.get('format'))}"
        )
    for name, kinds in entries.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        said = " or ".join(_NAMES[kind] for kind in kinds)
        if name not in tree:
            raise ValueError(f"expected an entry {name!r} ({said}), and it has {_short(list(tree))}")
        kind = type(tree[name])
        if kind not in kinds and not (kind is int and float in kinds):
            raise ValueError(f"expected {name!r} to be {said}, and it is {_short(tree[name])}")


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
