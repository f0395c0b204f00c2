"""The one place that says what labels are."""

import keras
import numpy as np


def check_labels(y, num_classes=None, *, size=None):
    """Refuse anything but one class number for each example.

    Args:
        y: `(N,)` array or tensor of integers in `0..K-1`.
        num_classes: int K, or None where it is not known.
        size: int N, the number of images, or None where it is not known.

    Returns:
        `y` as an int32 NumPy array.

    Raises:
        TypeError: if it is not an integer array.
        ValueError: if it is one-hot, has another rank or length, or numbers no class.
    """
    if keras.ops.is_tensor(y):
        y = keras.ops.convert_to_numpy(y)
    try:
        y = np.asarray(y)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`y` must be an array of integers. Received: {type(y)}: {error}") from None
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            "`y` must hold class numbers, not one-hot or soft labels. Take `y.argmax(axis=-1)`. "
            f"Received: shape {y.shape}, dtype {y.dtype}"
        )
    if y.ndim != 1:
        raise ValueError(
            "`y` must hold labels along one axis, (N,). Take `y.reshape(-1)` if it has one number for "
            f"each example. Received: shape {y.shape}, dtype {y.dtype}"
        )
    if y.dtype.kind not in "iu":
        raise TypeError(
            "`y` must hold integers. Convert class numbers with `y.astype('int32')`. "
            f"Received: dtype {y.dtype}, shape {y.shape}"
        )
    if size is not None and len(y) != size:
        raise ValueError(f"`y` must hold {size} labels, one for each image. Received: {len(y)}")
    if y.size:
        low, high = int(y.min()), int(y.max())
        # Without K still a number that fits, so that the conversion below changes nothing.
        limit = 2**31 if num_classes is None else num_classes
        if low < 0 or high >= limit:
            advice = " They begin at 1: take `y - 1`." if low == 1 and high == num_classes else ""
            upwards = "upwards" if num_classes is None else f"to {limit - 1}"
            raise ValueError(
                f"`y` must number the classes from 0 {upwards}.{advice} Received: labels {low}..{high}"
            )
    return y.astype("int32", copy=False)
