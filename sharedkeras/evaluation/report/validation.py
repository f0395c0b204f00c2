"""What the parts of a report must be, each refused with a message that says so."""

import numbers

import numpy as np

from sharedkeras.evaluation.report import json_format
from sharedkeras.evaluation.report.estimate import Estimate, Step
from sharedkeras.evaluation.report.finding import Finding, checked_finding

_SHOWN = 1000  # Of the slices that are missing, those below this number.


def checked(parts):
    """Return the parts of a report, each in its one form.

    Args:
        parts: dict from the name of every field of `Report` to what was given for it.

    Returns:
        Dict of the parts that are there.

    Raises:
        ValueError: if there is no example, or if the parts do not fit together.
    """
    n, flags = checked_flags(parts["flags"], parts["cascade"])
    given = {name: value for name, value in parts.items() if value is not None}
    values = {
        "flags": flags,
        "cascade": bool(given["cascade"]),
        "seconds": checked_seconds(given["seconds"], flags),
        "settings": json_format.plain(dict(given["settings"])),
        "seed": checked_seed(given["seed"]),
        "versions": checked_versions(given["versions"]),
        "findings": tuple(_written(checked_finding(finding)) for finding in given["findings"]),
        "indices": checked_indices(given.get("indices", np.arange(n)), n),
    }
    if "history" in given:
        values["history"] = checked_history(given["history"])
    if "label_names" in given:
        values["label_names"] = checked_names(given["label_names"])
    if "labels" in given:
        values["labels"] = per_example("labels", integers("labels", given["labels"]), n)
    if "predictions" in given:
        values["predictions"] = {
            name: per_example(f"predictions[{name!r}]", integers(f"predictions[{name!r}]", value), n)
            for name, value in given["predictions"].items()
        }
    for part in ("distance", "margins", "passes"):
        if part in given:
            values[part] = {
                name: per_example(f"{part}[{name!r}]", value, n).astype("float32")
                for name, value in given[part].items()
            }
    if "estimate" in given:
        values["estimate"] = checked_estimate(given["estimate"], flags)
    if "plan" in given:
        values["plan"] = tuple(checked_step(step) for step in given["plan"])
    return values | checked_images({k: given[k] for k in ("adversarial", "images") if k in given}, n)


def per_example(name, value, n):
    """Return an array with one entry for each of n examples, or raise a ValueError."""
    value = np.asarray(value)
    if value.shape[:1] != (n,):
        raise ValueError(
            f"`{name}` must have one entry for each of the {n} examples. "
            f"Received: {name} of shape {value.shape}"
        )
    return value


def checked_indices(indices, n):
    """Return the examples' numbers, or raise a ValueError."""
    indices = per_example("indices", integers("indices", indices), n)
    if indices.ndim != 1 or len(np.unique(indices)) != n or indices.min() < 0:
        raise ValueError(
            "`indices` must be distinct, not negative, and of shape (n,). "
            f"Received: indices={np.array2string(indices, threshold=8)}"
        )
    return indices


def checked_seed(seed):
    """Return the seed as an int, or raise a ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise ValueError(f"`seed` must be an integer. Received: seed={seed!r}")
    return int(seed)


def checked_versions(versions):
    """Return versions by name, as str."""
    text = json_format.text
    return {text(name): text(version) for name, version in dict(versions).items()}


def checked_names(names):
    """Return names of classes as a tuple of str, or raise a ValueError."""
    if isinstance(names, str | dict):
        raise ValueError(f"`label_names` must be a sequence of names. Received: label_names={names!r}")
    return tuple(json_format.text(name) for name in names)


def checked_estimate(estimate, flags):
    """Return the estimate, or raise a ValueError where the flags contradict it."""
    if not isinstance(estimate, Estimate):
        raise ValueError(f"`estimate` must be an `Estimate`. Received: estimate={estimate!r}")
    verified = float(np.mean(np.logical_and.reduce(list(flags.values()))))
    if estimate.high > verified + 1e-9:
        raise ValueError(
            f"An estimate must not lie above what was verified, {verified}. "
            f"Received: estimate={estimate!r}"
        )
    return estimate


def checked_step(step):
    """Return a `Step` of names and distinct numbers, or raise a ValueError."""
    attacks, index = step
    index = integers("plan's indices", index if len(index) else np.zeros(0, int))
    named = isinstance(attacks, list | tuple) and all(isinstance(name, str) for name in attacks)
    if not named or index.ndim != 1 or len(np.unique(index)) != len(index):
        raise ValueError(
            "A step of a plan must have names of attacks and distinct numbers of examples. "
            f"Received: attacks={attacks!r}, indices={index!r}"
        )
    return Step(tuple(attacks), index)


def checked_images(images, n):
    """Return the clean and adversarial images that are there, or raise a ValueError.

    Args:
        images: dict from "images" and "adversarial" to float arrays.
        n: int, the number of examples.
    """
    images = {name: per_example(name, value, n) for name, value in images.items()}
    for name, value in images.items():
        if not np.issubdtype(value.dtype, np.floating):
            raise ValueError(
                f"`{name}` must be floats in [0, 1]. Received: {name} of dtype {value.dtype}"
            )
    if len({value.shape for value in images.values()}) > 1:
        raise ValueError(
            "`images` and `adversarial` must have the same shape. Received: images of shape "
            f"{images['images'].shape}, adversarial of shape {images['adversarial'].shape}"
        )
    return images


def _written(finding):
    return Finding(*map(json_format.text, finding))


def integers(name, value):
    """Return an integer array, or raise a ValueError."""
    value = np.asarray(value)
    if not np.issubdtype(value.dtype, np.integer):
        raise ValueError(f"`{name}` must be integers. Received: {name} of dtype {value.dtype}")
    return value


def checked_flags(flags, cascade):
    """Return `(n, flags)`: the flags with "clean" first, copied and locked against writing."""
    if "clean" not in flags:
        raise ValueError(f"`flags` must have an entry 'clean'. Received: flags of {list(flags)}")
    names = ["clean", *(name for name in flags if name != "clean")]
    flags = {json_format.text(name): np.array(flags[name]) for name in names}  # Copies, locked below.
    shape = flags["clean"].shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            "An accuracy needs at least one example: `flags` must have shape (n,) with n > 0. "
            f"Received: flags['clean'] of shape {shape}"
        )
    before = flags["clean"]
    for name, flag in flags.items():
        if flag.dtype != bool or flag.shape != shape:
            raise ValueError(
                f"Every entry of `flags` must be bool of shape {shape}. "
                f"Received: flags[{name!r}] of dtype {flag.dtype} and shape {flag.shape}"
            )
        if cascade and np.any(flag & ~before):
            raise ValueError(
                "In a cascade an example, once broken, stays broken. "
                f"Received: flags[{name!r}] with {np.sum(flag & ~before)} examples correct again"
            )
        before = flag
        flag.setflags(write=False)
    return shape[0], flags


def checked_seconds(seconds, flags):
    """Return the seconds as floats in the order of the flags."""
    seconds = {json_format.text(name): value for name, value in seconds.items()}
    for name, value in seconds.items():
        if name not in flags or not np.isfinite(value) or value < 0:
            raise ValueError(
                f"`seconds` must be finite and not negative, by attack, of {list(flags)}. "
                f"Received: seconds[{name!r}]={value!r}"
            )
    return {name: float(seconds[name]) for name in flags if name in seconds}


def checked_history(history):
    """Return the columns as float arrays, NaN where a cell holds no number."""

    def number(value):  # a cell of a CSV file may be empty
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return np.nan

    columns = {
        json_format.text(name): np.array([number(value) for value in column])
        for name, column in history.items()
    }
    if len({len(column) for column in columns.values()}) > 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise ValueError(f"The columns of `history` must have one length. Received: {lengths}")
    return columns


def checked_shards(shards):
    """Return the number of each slice, or None if nothing was sliced; refuse an incomplete set."""
    if all(shard is None for shard in shards):
        return None
    try:
        numbers_, counts = zip(*(map(int, shard) for shard in shards), strict=True)
    except (TypeError, ValueError):
        raise ValueError(
            f"Each report's settings['shard'] must be [i, n], slice i of n. Received: shards={shards}"
        ) from None
    count = counts[0]
    if len(set(counts)) > 1 or len(numbers_) != count or set(numbers_) != set(range(count)):
        missing = sorted(set(range(min(count, _SHOWN))) - set(numbers_))
        raise ValueError(
            f"Merging needs each of the {count} slices once; missing: {missing}. "
            f"Received: shards={shards}"
        )
    return numbers_
