"""What the parts of a report must be, each refused with a message that says so."""

import numpy as np


def integers(name, value):
    """Return an integer array, or refuse it."""
    value = np.asarray(value)
    if not np.issubdtype(value.dtype, np.integer):
        raise ValueError(f"`{name}` must be integers. Received: {name} of dtype {value.dtype}")
    return value


def checked_flags(flags, cascade):
    """Return `(n, flags)`: the flags with "clean" first, copied and locked against writing."""
    if "clean" not in flags:
        raise ValueError(f"`flags` must have an entry 'clean'. Received: flags of {list(flags)}")
    names = ["clean", *(name for name in flags if name != "clean")]
    flags = {str(name): np.array(flags[name]) for name in names}  # a copy, to be locked below
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
        except (TypeError, ValueError):
            return np.nan

    columns = {str(k): np.array([number(v) for v in column]) for k, column in history.items()}
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
    missing = sorted(set(range(counts[0])) - set(numbers_))
    if len(set(counts)) > 1 or missing or len(numbers_) != counts[0]:
        raise ValueError(
            f"Merging needs each of the {counts[0]} slices once; missing: {missing}. "
            f"Received: shards={shards}"
        )
    return numbers_
