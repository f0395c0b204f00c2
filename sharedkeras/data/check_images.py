"""The one place that says what an image is."""

import keras
import numpy as np


def check_images(x, *, name="x"):
    """Refuses anything but a batch of float images in [0, 1].

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
        advice = " Divide by 255?" if low >= 0.0 and high > 2.0 else ""
        raise ValueError(f"`{name}` must be in [0, 1].{advice} Received: values in [{low}, {high}]")
    return x


def _to_array(x, name):
    if keras.ops.is_tensor(x):
        x = keras.ops.convert_to_numpy(x)
    try:
        x = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be an array of numbers. Received: {type(x)}: {error}") from None
    if x.dtype.kind in "OSUV" and not x.dtype.name.startswith(("bfloat", "float")):
        raise TypeError(
            f"`{name}` must be an array of numbers. Received: {name}={type(x)} of dtype {x.dtype}"
        )
    return x
