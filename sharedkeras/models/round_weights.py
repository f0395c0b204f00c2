"""Weights rounded to the type in which they will be stored."""

import numpy as np


def round_weights(network, dtype):
    """Round a network's weights to a type and back, so that storing them in it changes nothing.

    A robust accuracy is that of certain weights. Whoever stores them in half precision rounds first and
    judges then.

    Args:
        network: `keras.Model`; changed in place.
        dtype: "float32", which changes nothing, or "float16".

    Returns:
        The network.

    Raises:
        ValueError: if the type is unknown, or a weight is too large for it; nothing is changed then.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"`dtype` must be 'float32' or 'float16'. Received: dtype={dtype!r}")
    if dtype == "float32":
        return network
    values = network.get_weights()
    largest = np.finfo(dtype).max
    for variable, value in zip(network.weights, values, strict=True):
        if value.dtype.kind == "f" and np.abs(value).max(initial=0) > largest:
            raise ValueError(
                f"A weight is too large for {dtype}. Expected at most {largest} in size. "
                f"Received: {np.abs(value).max()} in {variable.path}"
            )
    network.set_weights([v.astype(dtype).astype(v.dtype) if v.dtype.kind == "f" else v for v in values])
    return network
