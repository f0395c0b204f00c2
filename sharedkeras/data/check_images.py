"""The one place that says what an image is."""

import keras
import numpy as np

_LARGEST = (255, 65535)
"""Of images with 8 and 16 bits."""


def check_images(x, *, name="x"):
    """Refuse anything but a batch of float images in [0, 1].

    Budgets, networks and reports are all in units of the whole range of a pixel. Images on another
    scale would be attacked with a budget 255 times too small, and nothing would fail.

    Args:
        x: `(N, H, W, C)` array or tensor with values, N at least 1: float32, or float64 where
            Keras's `floatx` is that.
        name: what the caller calls it, for the message.

    Returns:
        `x` as a NumPy array, not copied where it is one.

    Raises:
        TypeError: if it is not a float32 (float64) array.
        ValueError: if its rank, its size or its values are not those of images.
    """
    x = _to_array(x, name)
    if x.dtype == np.uint8:
        raise TypeError(
            f"`{name}` must hold floats in [0, 1]. Divide by 255: `{name}.astype('float32') / 255`. "
            f"Received: dtype {x.dtype}, shape {x.shape}"
        )
    allowed = ("float32", "float64") if keras.config.floatx() == "float64" else ("float32",)
    if x.dtype.name not in allowed:
        raise TypeError(
            f"`{name}` must be {' or '.join(allowed)} (Keras's floatx is {keras.config.floatx()}). "
            f"Convert it: `{name}.astype('float32')`. Received: dtype {x.dtype}, shape {x.shape}"
        )
    if x.ndim != 4:
        raise ValueError(
            f"`{name}` must have four axes, (N, H, W, C); a single image is {name}[None], a grey one "
            f"without channels {name}[..., None]. Received: shape {x.shape}"
        )
    if x.size == 0:
        raise ValueError(f"`{name}` must hold at least one image. Received: shape {x.shape}")
    # NaN passes through both, so that two passes without a temporary see everything.
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(
            f"`{name}` must be finite. Received: {int((~np.isfinite(x)).sum())} of {x.size} values "
            "are NaN or infinite"
        )
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"`{name}` must be in [0, 1].{_advice(name, low, high)} Received: values in [{low}, {high}]"
        )
    return x


def _advice(name, low, high):
    if low < 0.0:
        signed = low >= -1.0 and high <= 1.0
        return f" Those in [-1, 1] get there by `({name} + 1) / 2`." if signed else ""
    for largest in _LARGEST:
        if high <= largest:
            return f" Divide by {largest}: `{name} / {largest}`." if high > 2.0 else ""
    return ""


def with_channels(x, shape):
    """Give grey images `(N, H, W)` the last axis that a network of one channel wants.

    Args:
        x: array or tensor.
        shape: `(H, W, C)` of the images that the network takes, or None where it is not known.

    Returns:
        `(N, H, W, 1)` array where such images are given to such a network, else `x`.
    """
    if len(np.shape(x)) != 3 or shape is None or len(shape) != 3 or shape[-1] != 1:
        return x
    return _to_array(x, "x")[..., None]


def _to_array(x, name):
    if keras.ops.is_tensor(x):
        x = keras.ops.convert_to_numpy(x)
    try:
        x = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be an array of numbers. Received: {type(x)}: {error}") from None
    if x.dtype.kind in "OSUV" and not x.dtype.name.startswith(("bfloat", "float")):
        raise TypeError(
            f"`{name}` must be an array of numbers; a pipeline or generator becomes arrays by "
            f"`sharedkeras.data.from_dataset`. Received: {name}={type(x)} of dtype {x.dtype}"
        )
    return x
