"""Losses in full precision, whatever the policy of the network that made the logits."""

import functools

import keras
import numpy as np
from keras import ops

_HALF = ("float16", "bfloat16")


def in_full(x):
    """Return a tensor in float32 where it is in half precision; anything else as it is.

    Half precision rounds a cross-entropy of 8 to a multiple of 1/128, and bounds a sum by 65,504.

    Args:
        x: anything.

    Returns:
        `x`, or a tensor of its shape.
    """
    if not (ops.is_tensor(x) or isinstance(x, np.ndarray)):
        return x
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in _HALF else x


def full_precision(loss):
    """Decorate a loss so that tensors in half precision reach it in float32."""

    @functools.wraps(loss)
    def computed(*args, **options):
        return loss(*map(in_full, args), **{name: in_full(value) for name, value in options.items()})

    return computed
