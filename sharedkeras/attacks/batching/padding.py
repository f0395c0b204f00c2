"""Batches filled up to a size."""

import numpy as np


def pad(values, size):
    """Fill the first axis up to a size by repeating the first entry.

    Args:
        values: `(n, ...)` array, n at least 1.
        size: int, at least n.

    Returns:
        `(size, ...)` array.
    """
    missing = size - len(values)
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)]) if missing else values
