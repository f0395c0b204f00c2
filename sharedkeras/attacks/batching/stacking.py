"""Several runs of one attack on the same few examples, stacked into one batch.

Attacks that make many runs, for several targets or starts, are left with few examples after the first of
them. A batch of few costs up to twice as much for each example, so the runs to come are put next to each
other. Each draws what it would draw alone, so that no verdict depends on it.
"""

import keras
import numpy as np
from keras import ops

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.attacks.batching.sizes import shrunken, snug


def plan(standing, now, runs, steps, max_rows, least_saved):
    """Say how many runs to make at once, and in a batch of which size.

    Args:
        standing: int above 0, examples that every run is to see.
        now: int, the present size of the batch.
        runs: int, runs to come.
        steps: int, passes of an example in one run.
        max_rows: int, the most rows of a batch, or None for one run at a time.
        least_saved: int, passes that are worth compiling a new size.

    Returns:
        `(count, size)`: runs to make at once, and rows of the batch, at least `count * standing`.
    """
    # Side by side they cost about half, which must be worth a compilation if the batch is to grow.
    worth = standing * steps * runs >= 2 * least_saved
    full = now if max_rows is None or not worth else max(max_rows, now)
    at_once = 1 if max_rows is None else max(1, full // standing)
    groups = -(-runs // at_once)
    count = -(-runs // groups)
    rows = count * standing
    if rows > now:
        return count, snug(rows, full, steps * groups, least_saved)
    return count, shrunken(rows, now, steps * groups, least_saved)


def stack(values, rows, size):
    """Put the rows of several runs' tensors one run after the other.

    Args:
        values: iterable with a nested structure of `(batch, ...)` tensors for each run. Of a generator's
            structures one is held at a time.
        rows: `(n,)` ints, the examples to take of each.
        size: int, at least n for each run; the first row fills it up.

    Returns:
        The structure with tensors `(size, ...)`.
    """
    cut = [_cut(value, rows) for value in values]

    def joined(*parts):
        return ops.convert_to_tensor(pad(np.concatenate(parts), size))

    return keras.tree.map_structure(joined, *cut)


def owners(rows, count, size):
    """Tell which example each row of a stacked batch belongs to; -1 where a row only fills it up."""
    own = np.full(size, -1)
    own[: len(rows) * count] = np.tile(rows, count)
    return own


def take(values, rows):
    """Take rows of every tensor of a nested structure.

    By way of the host: nearly every call has other shapes, and a graph for each costs more than copies.

    Args:
        values: nested structure of `(batch, ...)` tensors.
        rows: `(n,)` ints.

    Returns:
        The structure with tensors `(n, ...)`.
    """
    return keras.tree.map_structure(ops.convert_to_tensor, _cut(values, rows))


def _cut(values, rows):
    return keras.tree.map_structure(lambda t: ops.convert_to_numpy(t)[rows], values)
