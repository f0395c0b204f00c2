"""Batches padded to few sizes, so that few graphs are compiled."""

import numpy as np
from keras import ops

_SMALLEST_BUCKET = 8
_WORTH_QUARTERS = 32
"""Sizes below are only halved: what 3/4 saves there is not worth compiling."""


def bucket(count, batch_size):
    """Return the padded size of a batch: few sizes, so that few graphs are compiled.

    Args:
        count: int, examples in the batch, at most `batch_size`.
        batch_size: int.

    Returns:
        The smallest that holds `count` of `batch_size`, 3/4, 1/2, 3/8, 1/4, ... of it, rounded up, and
        not below 8.
    """
    size, least = batch_size, max(count, _SMALLEST_BUCKET)
    while -(-size // 2) >= least and size > least:
        size = -(-size // 2)
    quarters = -(-3 * size // 4)
    return quarters if quarters >= least and size >= _WORTH_QUARTERS else size


def pad(values, size):
    """Pad the first axis to a size by repeating the first entry."""
    missing = size - len(values)
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)]) if missing else values


def logits_of(classifier, x, batch_size):
    """Compute the logits of many images in padded batches.

    Args:
        classifier: `FrozenClassifier` or `CallableClassifier`.
        x: `(n, H, W, C)` array.
        batch_size: int.

    Returns:
        `(n, K)` array.
    """
    parts = []
    for start in range(0, len(x), batch_size):
        part = x[start : start + batch_size]
        padded = pad(part, bucket(len(part), batch_size))
        parts.append(ops.convert_to_numpy(classifier.predict(padded))[: len(part)])
    return np.concatenate(parts)
