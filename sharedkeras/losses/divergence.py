"""Kullback-Leibler divergences, one way and symmetrised."""

from keras import ops

from sharedkeras.losses.precision import full_precision


@full_precision
def kl_categorical(p_logits, q_logits):
    """Compute the divergence KL(p || q) of two categorical distributions given by logits.

    Everything stays in log space, and gradients flow through both arguments.

        KL(p || q) = sum_k p_k (log p_k - log q_k)

    Args:
        p_logits: `(batch, K)` tensor.
        q_logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` tensor, at least 0 up to rounding.

    Example:
        >>> import numpy as np
        >>> p, q = np.log([[0.5, 0.5]]).astype("float32"), np.log([[0.25, 0.75]]).astype("float32")
        >>> round(float(ops.convert_to_numpy(kl_categorical(p, q))[0]), 4)  # log(4 / 3) / 2
        0.1438
    """
    log_p = ops.log_softmax(p_logits, axis=-1)
    log_q = ops.log_softmax(q_logits, axis=-1)
    return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)


@full_precision
def symmetrised_kl_categorical(p_logits, q_logits):
    """Compute half the sum of KL(p || q) and KL(q || p) of two categorical distributions.

        SKL = 1/2 sum_k (p_k - q_k)(log p_k - log q_k)

    Args:
        p_logits: `(batch, K)` tensor.
        q_logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` tensor, at least 0.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        Appendix A.4 (regularisation on p(y|x)).
    """
    log_p = ops.log_softmax(p_logits, axis=-1)
    log_q = ops.log_softmax(q_logits, axis=-1)
    return 0.5 * ops.sum((ops.exp(log_p) - ops.exp(log_q)) * (log_p - log_q), axis=-1)


@full_precision
def symmetrised_kl_gaussian(mean_p, scale_p, mean_q, scale_q):
    """Compute half the sum of KL(p || q) and KL(q || p) of two diagonal Gaussians.

    The logarithms of the two directions cancel, which leaves a form without any logarithm:

        SKL = 1/4 sum_d [ (s_p/s_q - s_q/s_p)^2 + (m_p - m_q)^2 (1/s_p^2 + 1/s_q^2) ]

    Args:
        mean_p: `(batch, d)` tensor.
        scale_p: `(batch, d)` tensor, standard deviations, above 0.
        mean_q: `(batch, d)` tensor.
        scale_q: `(batch, d)` tensor, standard deviations, above 0.

    Returns:
        `(batch,)` tensor, summed over the latent dimensions, at least 0.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        equation 15 and its footnote.
    """
    # s_p^2/s_q^2 + s_q^2/s_p^2 - 2 as a square: nothing cancels where the scales are nearly equal.
    shape = (scale_p - scale_q) * (scale_p + scale_q) / (scale_p * scale_q)
    inverse = 1.0 / ops.square(scale_p) + 1.0 / ops.square(scale_q)
    place = ops.square(mean_p - mean_q) * inverse
    return 0.25 * ops.sum(ops.square(shape) + place, axis=-1)
