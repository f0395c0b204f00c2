"""The sizes to which a batch shrinks when points leave it: few, since every size is compiled anew."""

_SMALLEST = 8
"""Batches are not cut below this: fewer images save little and cost a compilation."""
_STEP = 4
"""Sizes are multiples of this; of more above 64, so that every doubling has eight at most."""


def fitting(count, full):
    """Returns the smallest of few sizes that holds so many points.

    The sizes do not depend on the batch that shrinks, so that batches and attempts share them.

    Args:
        count: int, points, at most `full`.
        full: int, the size of the batch.

    Returns:
        The smallest of 8, 12, 16, ..., 64, 72, ..., 128, 144, ..., 256, 288, ... that holds `count`;
        `full` where that is less.
    """
    power = 1 << max(count - 1, 0).bit_length()
    step = max(_STEP, power // 16)
    return min(max(_SMALLEST, -(-count // step) * step), full)


def shrunken(count, now, passes_to_go, least_saved):
    """Returns the size to which a batch shrinks, or its present one where that would save too little.

    Args:
        count: int, points left.
        now: int, the batch's present size.
        passes_to_go: int, passes that every point that leaves would save.
        least_saved: int, passes that must be saved to be worth compiling a new size.

    Returns:
        int from `count` to `now`.
    """
    size = fitting(count, now)
    return size if (now - size) * passes_to_go >= least_saved else now
