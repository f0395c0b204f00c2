"""Distances and Gaussian kernels between the examples of a batch."""

import keras
import numpy as np
from keras import ops

_ROUNDING = 8.0  # Units in the last place of |x|^2 + |y|^2 that count as no distance.


def squared_distances(x):
    """Compute all squared Euclidean distances between the rows of a matrix.

    Args:
        x: `(m, d)` tensor.

    Returns:
        `(m, m)` tensor, zero on the diagonal, nowhere negative.
    """
    # Centring first keeps the subtraction below from cancelling when the rows share a large offset.
    x = x - ops.stop_gradient(ops.mean(x, axis=0, keepdims=True))
    square = ops.sum(ops.square(x), axis=1)
    total = square[:, None] + square[None, :]
    distance = total - 2.0 * ops.matmul(x, ops.transpose(x))
    # What is left of equal rows is rounding, and its square root would count as a distance.
    noise = _ROUNDING * np.finfo(keras.backend.standardize_dtype(x.dtype)).eps
    return ops.where(distance > noise * total, distance, 0.0)


def nearest_neighbour_width(distance, neighbours):
    """Choose a kernel width: the mean distance of a sample to its nearest others, over all samples.

    Args:
        distance: `(m, m)` squared distances, m at least 2.
        neighbours: int, how many nearest others count; capped at m - 1.

    Returns:
        Scalar tensor, through which no gradient flows.
    """
    # Sorted ascending, a row's first entry is the sample itself (or a duplicate, equally at zero).
    # The slice ends with the row, which is the cap at m - 1 also where m is only known at run time.
    root = ops.sqrt(ops.sort(ops.stop_gradient(distance), axis=1))[:, 1 : neighbours + 1]
    count = ops.cast(ops.size(root), root.dtype)
    return ops.stop_gradient(ops.sum(root) / ops.maximum(count, 1.0))


def median_width(distance):
    """Choose a kernel width: the median distance of two different samples.

    Args:
        distance: `(m, m)` squared distances.

    Returns:
        Scalar tensor, through which no gradient flows; 0 for a single sample.
    """
    m = ops.shape(distance)[0]
    ordered = ops.sort(ops.reshape(ops.stop_gradient(distance), (-1,)))
    # The m smallest are those of each sample from itself, and all others come twice.
    return ops.sqrt(ops.take(ordered, (m + m * m - 1) // 2))


def gaussian(distance, width):
    """Compute `exp(-distance / (2 width**2))`.

    Args:
        distance: squared distances.
        width: scalar, above zero.

    Returns:
        Tensor of the shape of `distance`, in (0, 1].
    """
    return ops.exp(-distance / (2.0 * ops.square(width)))
