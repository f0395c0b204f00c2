"""The sizes of batches: few, since every size is compiled anew."""

from sharedkeras import backend

_SMALLEST = 8
"""Batches are not cut below this: fewer images save little and cost a compilation."""
_WORTH_QUARTERS = 32
"""Sizes below are only halved: what 3/4 saves there is not worth compiling."""
_STEP = 4
"""Sizes are multiples of this; of more above 64, so that every doubling has eight at most."""
_WORTH = 3e11
"""Multiplications with a weight that a CPU makes while a deep network is compiled: two cores make 1e11 a
second, and a graph of a ResNet-18 takes 1.2 s (TensorFlow) to 4 s (JAX)."""

_ACCELERATED = 20


def least_saved(classifier, most, forwards):
    """Tell how many passes of one example must be saved to be worth compiling a new size.

    Told from the network's layers and not from a clock, so that every run has the same sizes.

    Args:
        classifier: `Classifier`.
        most: int, the number for networks so small that a pass's cost does not follow from its
            multiplications. On accelerators, where passes are cheap and compilations are not, it is
            twenty times that.
        forwards: int, what a pass costs in forward passes: 2 for one that ends in a gradient.

    Returns:
        int, at least 1.
    """
    if backend.accelerated():
        return _ACCELERATED * most
    work = forwards * classifier.multiply_adds
    if not work:
        return most
    return min(most, max(1, round(_WORTH / work)))


def bucket(count, batch_size):
    """Return the size of a batch that makes few passes: one of very few.

    Args:
        count: int, examples in the batch, at most `batch_size`.
        batch_size: int.

    Returns:
        The smallest that holds `count` of `batch_size`, 3/4, 1/2, 3/8, 1/4, ... of it, rounded up, and
        not below 8.
    """
    size, least = batch_size, max(count, _SMALLEST)
    while -(-size // 2) >= least and size > least:
        size = -(-size // 2)
    quarters = -(-3 * size // 4)
    return quarters if quarters >= least and size >= _WORTH_QUARTERS else size


def fitting(count, full):
    """Return the size of a batch that makes hundreds of passes: the smallest of few that holds so many.

    The sizes do not depend on the batch that shrinks, so that batches and attempts share them. On
    accelerators they are powers of two.

    Args:
        count: int, points, at most `full`.
        full: int, the size of the batch.

    Returns:
        The smallest of 8, 12, 16, ..., 64, 72, ..., 128, 144, ..., 256, 288, ... that holds `count`;
        `full` where that is less.
    """
    power = 1 << max(count - 1, 0).bit_length()
    return _multiple(count, power if backend.accelerated() else max(_STEP, power // 16), full)


def snug(count, full, passes_to_go, least_saved):
    """Return `fitting(count, full)`, or a multiple of 4 below it where that saves enough.

    Args:
        count: int, points, at most `full`.
        full: int, the size of the batch.
        passes_to_go: int, passes that every row will take.
        least_saved: int, passes that must be saved to be worth compiling a rarer size.

    Returns:
        int from `count` to `full`.
    """
    size = fitting(count, full)
    if backend.accelerated():
        return size
    close = _multiple(count, _STEP, full)
    return close if close < size and (size - close) * passes_to_go >= least_saved else size


def shrunken(count, now, passes_to_go, least_saved):
    """Return the size to which a batch shrinks, or its present one where that would save too little.

    Args:
        count: int, points left.
        now: int, the batch's present size.
        passes_to_go: int, passes that every point that leaves would save.
        least_saved: int, passes that must be saved to be worth compiling a new size.

    Returns:
        int from `count` to `now`.
    """
    size = snug(count, now, passes_to_go, least_saved)
    return size if (now - size) * passes_to_go >= least_saved else now


def _multiple(count, step, full):
    return min(max(_SMALLEST, -(-count // step) * step), full)
