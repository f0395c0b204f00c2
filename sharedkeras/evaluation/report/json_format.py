"""The file format of a report: strict JSON, flags as packed bits."""

import base64
import binascii
import dataclasses
import json
import math
import os

import numpy as np

FORMAT = "sharedkeras-report/1"


def plain(value):
    """Return a value that strict JSON can hold and that reads back the same.

    Args:
        value: a setting: JSON's own types, NumPy's, tuples, paths, dataclasses (attacks),
            callables; of anything else the `repr`.

    Returns:
        Nested dicts (with string keys), lists, str, int, float, bool and None. A number that is
        not finite becomes its name, since JSON has none: `"inf"`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    # An address would make two equal runs differ.
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def dumps(report) -> str:
    """Write a report as JSON text.

    Args:
        report: a `Report`.

    Returns:
        The text, without images: those are as large as the data set.
    """
    n = report.n
    tree = {
        "format": FORMAT,
        "n": n,
        "clean": report.clean,
        "robust": report.robust,
        "verdict": report.verdict,
        "verdict_sentence": report.verdict_sentence,
        "cascade": report.cascade,
        "accuracy": report.accuracy,
        "seconds": report.seconds,
        "findings": [finding._asdict() for finding in report.findings],
        "seed": report.seed,
        "settings": report.settings,
        "versions": report.versions,
        "flags": {name: _text(np.packbits(flag)) for name, flag in report.flags.items()},
    }
    if not np.array_equal(report.indices, np.arange(n)):
        tree["indices"] = _array(report.indices, "<i8")
    if report.labels is not None:
        tree["labels"] = _array(report.labels, "<i4")
    if report.predictions is not None:
        tree["predictions"] = {k: _array(v, "<i4") for k, v in report.predictions.items()}
    if report.distance is not None:
        tree["distance"] = {k: _array(v, "<f4") for k, v in report.distance.items()}
    if report.history is not None:
        tree["history"] = {
            name: [float(v) if np.isfinite(v) else None for v in column]
            for name, column in report.history.items()
        }
    if report.label_names is not None:
        tree["label_names"] = list(report.label_names)
    return json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def loads(text):
    """Read JSON text that `dumps` wrote.

    Args:
        text: of the file.

    Returns:
        `(fields, tree)`: the arguments of `Report`, and all that the file states.

    Raises:
        ValueError: if the text is cut short or of another format.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not complete JSON ({error})") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else type(tree).__name__
        raise ValueError(f"its format must be {FORMAT!r}. Received: format={found!r}")
    try:
        n = tree["n"]
        fields = {name: tree[name] for name in ("cascade", "seconds", "settings", "seed")}
        fields["versions"] = tree["versions"]
        fields["flags"] = {name: _bits(bits, n) for name, bits in tree["flags"].items()}
        fields["findings"] = [(f["code"], f["severity"], f["message"]) for f in tree["findings"]]
        for name in ("indices", "labels"):
            if name in tree:
                fields[name] = _numbers(tree[name])
        for name in ("predictions", "distance"):
            if name in tree:
                fields[name] = {key: _numbers(value) for key, value in tree[name].items()}
        for name in ("history", "label_names"):
            if name in tree:
                fields[name] = tree[name]
        for name in ("clean", "robust", "accuracy", "verdict"):
            tree[name]
    except KeyError as error:
        raise ValueError(f"it lacks the entry {error}") from error
    except (AttributeError, TypeError, binascii.Error) as error:
        raise ValueError(f"an entry is not of the kind it should be ({error})") from error
    return fields, tree


def _text(array):
    return base64.b64encode(array.tobytes()).decode("ascii")


def _array(array, dtype):
    return {"dtype": dtype, "base64": _text(array.astype(dtype))}


def _numbers(entry):
    data = base64.b64decode(entry["base64"], validate=True)
    native = np.dtype(entry["dtype"]).newbyteorder("=")
    return np.frombuffer(data, dtype=entry["dtype"]).astype(native)


def _bits(text, n):
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype="uint8")
    if len(packed) != (n + 7) // 8:
        raise ValueError(f"its flags must be of {n} examples. Received: {len(packed)} bytes")
    return np.unpackbits(packed, count=n).astype(bool)
