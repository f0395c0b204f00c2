"""Cross-entropy of labels and logits."""

from keras import ops

from sharedkeras.losses.precision import full_precision


@full_precision
def cross_entropy(y, logits):
    """Compute the cross-entropy of integer labels and logits.

    Log-softmax and one gather: no probability is formed, so no logit is too large.

        CE = -log softmax(z)_y

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` tensor, at least 0.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[0.0, 0.0], [1e4, 0.0]], "float32")
        >>> ops.convert_to_numpy(cross_entropy(np.array([0, 1]), logits)).round(4).tolist()
        [0.6930999755859375, 10000.0]
    """
    log_probability = ops.log_softmax(logits, axis=-1)
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    return -ops.take_along_axis(log_probability, y[:, None], axis=-1)[:, 0]
