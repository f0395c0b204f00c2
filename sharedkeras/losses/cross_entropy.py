"""Cross-entropy of labels and logits."""

from keras import ops

from sharedkeras.losses.precision import full_precision


@full_precision
def cross_entropy(y, logits, smoothing=0.0):
    """Compute the cross-entropy of integer labels and logits.

    Log-softmax and one gather: no probability is formed, so no logit is too large. Label smoothing
    moves a share s of each label's weight to all K classes equally, which keeps a network from growing
    its logits without end.

        CE = -(1 - s) log softmax(z)_y - s / K sum_k log softmax(z)_k

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor.
        smoothing: float s in [0, 1).

    Returns:
        `(batch,)` tensor, at least 0.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[0.0, 0.0], [1e4, 0.0]], "float32")
        >>> ops.convert_to_numpy(cross_entropy(np.array([0, 1]), logits)).round(4).tolist()
        [0.6930999755859375, 10000.0]

    Reference: C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016.
    """
    log_probability = ops.log_softmax(logits, axis=-1)
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    value = -ops.take_along_axis(log_probability, y[:, None], axis=-1)[:, 0]
    if smoothing:
        share = smoothing / logits.shape[-1]
        value = (1.0 - smoothing) * value - share * ops.sum(log_probability, axis=-1)
    return value
