"""The Hilbert-Schmidt independence criterion of two batches of representations."""

from keras import ops

from sharedkeras.losses.precision import full_precision
from sharedkeras.math import kernels

_SMALLEST_WIDTH = 1e-6
"""Keeps the kernel defined where all samples coincide; then the kernel is 1 and HSIC 0."""


@full_precision
def hsic(x, y, neighbours=10):
    """Measure the dependence of two variables from a batch of pairs; a scalar, not one per example.

    It stands in for the mutual information of equation 16: it needs no density and no second network.

        HSIC = trace(K H L H) / (m - 1)^2,  K_ij = exp(-|x_i - x_j|^2 / (2 s_x^2)),  H = I - 1/m

    The widths `s_x` and `s_y` are computed for each variable and batch: the mean over samples of the
    mean distance to the `neighbours` nearest other samples. No gradient flows through them. (The
    paper's equation 19 lost the minus sign in the kernel.)

    Args:
        x: `(m, d)` tensor; further axes are flattened.
        y: `(m, e)` tensor of as many samples.
        neighbours: int, at least 1; capped at m - 1.

    Returns:
        Scalar tensor, at least 0 up to rounding.

    Raises:
        ValueError: if there are fewer than two samples or the batches differ in length.

    Reference: A. Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms", 2005.

    Example:
        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).normal(size=(2, 64, 1)).astype("float32")
        >>> dependent, independent = (float(hsic(x, y)) for y in (x, noise))
        >>> dependent > 5 * independent
        True
    """
    m = x.shape[0]
    if m is not None and m < 2:
        raise ValueError(
            "HSIC compares samples with each other and needs a batch of at least 2. "
            f"Received: x.shape={tuple(x.shape)}"
        )
    if y.shape[0] != m:
        raise ValueError(
            "HSIC needs as many samples of y as of x. "
            f"Received: x.shape={tuple(x.shape)}, y.shape={tuple(y.shape)}"
        )
    if neighbours < 1:
        raise ValueError(f"`neighbours` must be at least 1. Received: neighbours={neighbours}")
    k, l = (_centred_kernel(v, neighbours) for v in (x, y))  # noqa: E741
    # trace(K H L H) = sum of (H K H) * (H L H), since H is idempotent.
    # A batch whose length is only known at run time may be the single left-over example of an epoch,
    # which has no dependence to measure: 0, not 0 / 0.
    others = ops.maximum(ops.cast(ops.shape(x)[0] - 1, k.dtype), 1.0)
    return ops.sum(k * l) / ops.square(others)


def _centred_kernel(x, neighbours):
    x = ops.reshape(x, (ops.shape(x)[0], -1))
    distance = kernels.squared_distances(x)
    width = kernels.nearest_neighbour_width(distance, neighbours)
    k = kernels.gaussian(distance, ops.maximum(width, _SMALLEST_WIDTH))
    rows = ops.mean(k, axis=0, keepdims=True)
    return k - rows - ops.transpose(rows) + ops.mean(k)
