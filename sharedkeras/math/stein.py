"""The gradient of a log density, estimated from samples alone."""

from keras import ops

from sharedkeras.math import kernels

_SMALLEST_WIDTH = 1e-6  # Keeps the kernel defined where all samples coincide.


def spectral_score(x, share=0.99):
    """Estimate the gradient of the log density at each sample; the spectral Stein gradient estimator.

    The score of a density is expanded in the eigenfunctions of a Gaussian kernel, which the Nystroem
    method gives at the samples, and Stein's identity gives the coefficients. With the kernel matrix
    K = U diag(l) U^T all of that is one matrix product:

        g(x_j) = - sum over the largest l of u_j l^-1 u^T s,   s_n = sum_i grad_{x_i} k(x_i, x_n)

    Small eigenvalues are left out: there 1 / l would raise noise. The kernel's width is the median
    distance between samples.

    Args:
        x: `(m, d)` tensor of samples.
        share: float in (0, 1], share of the sum of all eigenvalues that the kept ones reach.

    Returns:
        `(m, d)` tensor, through which no gradient flows; zeros where all samples coincide.

    Reference: J. Shi, S. Sun, J. Zhu, "A spectral approach to gradient estimation for implicit
        distributions", 2018.
    """
    x = ops.stop_gradient(x)
    x = x - ops.mean(x, axis=0, keepdims=True)  # Scores do not depend on the place; rounding does.
    distance = kernels.squared_distances(x)
    width = ops.maximum(kernels.median_width(distance), _SMALLEST_WIDTH)
    kernel = kernels.gaussian(distance, width)
    pull = ops.sum(kernel, axis=1, keepdims=True) * x - ops.matmul(kernel, x)
    pull = pull / ops.square(width)  # s_n = sum_i -(x_i - x_n) k(x_i, x_n) / width^2
    values, vectors = ops.linalg.eigh(kernel)  # Ascending.
    values = ops.maximum(values, 0.0)
    # What the larger eigenvalues reach together, before each one.
    before = ops.sum(values) - ops.cumsum(values)
    kept = before < share * ops.sum(values)
    inverse = ops.where(kept, 1.0 / ops.where(kept, values, 1.0), 0.0)
    coefficients = inverse[:, None] * ops.matmul(ops.transpose(vectors), pull)
    return ops.stop_gradient(-ops.matmul(vectors, coefficients))
