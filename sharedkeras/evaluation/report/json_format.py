"""The file format of a report: strict JSON, flags as packed bits."""

import base64
import dataclasses
import json
import math
import os

import numpy as np

from sharedkeras.evaluation.report.estimate import Estimate
from sharedkeras.files import read_json

FORMAT = "sharedkeras-report/1"
_ENTRIES = {
    "n": int,
    "clean": float,
    "robust": float,
    "verdict": str,
    "cascade": bool,
    "accuracy": dict,
    "seconds": dict,
    "findings": list,
    "seed": int,
    "settings": dict,
    "versions": dict,
    "flags": dict,
}
_DEEPEST = 64
"""Levels of nested settings: what is deeper is a mistake, and readers run out of stack."""
_MOST_BITS = 1024
"""Of an int: Python writes larger ones only up to some 4300 digits, other readers not even these."""


def plain(value):
    """Return a value that strict JSON can hold and that reads back the same.

    Args:
        value: a setting: JSON's own types, NumPy's, tuples, paths, dataclasses (attacks),
            callables; of anything else the `repr`.

    Returns:
        Nested dicts (with string keys), lists, str, int, float, bool and None. A number that is
        not finite becomes its name, since JSON has none: `"inf"`.

    Raises:
        ValueError: if it is nested more than 64 levels deep.
    """
    return _plain(value, _DEEPEST)


def text(value):
    """Return a str that can be written as UTF-8: bytes of a path that are no text become `\\udc80`."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value, levels):
    if levels == 0:
        raise ValueError(f"`settings` must be nested at most {_DEEPEST} levels deep.")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        size = value.bit_length()
        return value if size <= _MOST_BITS else f"an integer of {size} bits"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {text(key): _plain(entry, levels - 1) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry, levels - 1) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), levels - 1)
    if isinstance(value, os.PathLike):
        return text(os.fspath(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name), levels - 1) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    # An address would make two equal runs differ.
    shown = text(repr(value))
    return type(value).__name__ if " at 0x" in shown else shown


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
        "flags": {name: _base64(np.packbits(flag)) for name, flag in report.flags.items()},
    }
    if not np.array_equal(report.indices, np.arange(n)):
        tree["indices"] = _array(report.indices, "<i8")
    if report.labels is not None:
        tree["labels"] = _array(report.labels, "<i4")
    if report.predictions is not None:
        tree["predictions"] = {k: _array(v, "<i4") for k, v in report.predictions.items()}
    if report.distance is not None:
        tree["distance"] = {k: _array(v, "<f4") for k, v in report.distance.items()}
    for name, values in (("margins", report.margins), ("passes", report.passes)):
        if values is not None:
            tree[name] = {k: _array(v, "<f4") for k, v in values.items()}
    if report.estimate is not None:
        tree["estimate"] = dataclasses.asdict(report.estimate)
    if report.plan is not None:
        tree["plan"] = [
            {"attacks": list(step.attacks), "indices": _array(step.index, "<i8")} for step in report.plan
        ]
    if report.history is not None:
        tree["history"] = {
            name: [float(v) if np.isfinite(v) else None for v in column]
            for name, column in report.history.items()
        }
    if report.label_names is not None:
        tree["label_names"] = list(report.label_names)
    return json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read(path):
    """Read a file that `dumps` wrote, and check that every entry is of its kind.

    Args:
        path: of the file.

    Returns:
        Dict of all that the file states.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut short, of another format, or an entry is of another kind.
    """
    return read_json(path, what="a usable report", entries=_ENTRIES, file_format=FORMAT)


def fields(tree):
    """Return the arguments of `Report` that a file states.

    Args:
        tree: what `read` returned.

    Raises:
        ValueError, TypeError, AttributeError, KeyError: if an entry is not what `dumps` writes.
    """
    found = {name: tree[name] for name in ("cascade", "seconds", "settings", "seed", "versions")}
    found["flags"] = {name: _bits(bits, tree["n"]) for name, bits in tree["flags"].items()}
    found["findings"] = [(f["code"], f["severity"], f["message"]) for f in tree["findings"]]
    for name, dtype in (("indices", "<i8"), ("labels", "<i4")):
        if name in tree:
            found[name] = _numbers(name, tree[name], dtype)
    if "estimate" in tree:
        found["estimate"] = Estimate(**tree["estimate"])
    if "plan" in tree:
        found["plan"] = [
            (step["attacks"], _numbers("plan", step["indices"], "<i8")) for step in tree["plan"]
        ]
    per_attack = {"predictions": "<i4", "distance": "<f4", "margins": "<f4", "passes": "<f4"}
    for name, dtype in per_attack.items():
        if name in tree:
            entries = tree[name].items()
            found[name] = {key: _numbers(f"{name}[{key!r}]", entry, dtype) for key, entry in entries}
    return found | {name: tree[name] for name in ("history", "label_names") if name in tree}


def _base64(array):
    return base64.b64encode(array.tobytes()).decode("ascii")


def _array(array, dtype):
    return {"dtype": dtype, "base64": _base64(array.astype(dtype))}


def _numbers(name, entry, dtype):
    if entry.get("dtype") != dtype:
        raise ValueError(f"`{name}` must be of dtype {dtype!r}. Received: dtype={entry.get('dtype')!r}")
    data = base64.b64decode(entry["base64"], validate=True)
    return np.frombuffer(data, dtype=dtype).astype(np.dtype(dtype).newbyteorder("="))


def _bits(text, n):
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype="uint8")
    if n < 1 or len(packed) != (n + 7) // 8:
        raise ValueError(f"its flags must be of {n} examples. Received: {len(packed)} bytes")
    return np.unpackbits(packed, count=n).astype(bool)
