"""Part of a data set, chosen so that it can be chosen again."""

import numpy as np

METHODS = ("first", "stride", "random")


def subset(total, count, *, method="random", seed=0):
    """Return the numbers of some examples of a data set.

    The first examples may be easier than the others (on MNIST's test images they are), so that an
    accuracy over them flatters; a random subset estimates that over all.

    Args:
        total: int, examples that there are.
        count: int, examples wanted, or None for all; more than there are gives all.
        method: "first", "stride" (every so many-th) or "random" (without replacement).
        seed: int in `[0, 2**64)`, of the random choice.

    Returns:
        `(min(count, total),)` int64 array of numbers in `0..total-1`, ascending.

    Raises:
        ValueError: if the count is below 1 or the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {list(METHODS)}. Received: method={method!r}")
    if count is not None and count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}")
    if count is None or count >= total:
        return np.arange(total)
    if method == "first":
        return np.arange(count)
    if method == "stride":
        return np.arange(count) * total // count
    # Raw words, because NumPy promises their stream for ever, and not `choice`'s.
    words = np.random.Philox(key=np.array([seed, 0], "uint64")).random_raw(total)
    return np.sort(np.argsort(words, kind="stable")[:count])
