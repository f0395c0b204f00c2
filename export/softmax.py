"""Probabilities of logits in NumPy."""

import numpy as np


def softmax(logits):
    """Return `exp(logits) / sum(exp(logits))` along the last axis, computed without overflow.

    Args:
        logits: `(..., K)` array; a row that is not finite gives NaN.

    Returns:
        Array of the same shape, in [0, 1].
    """
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
