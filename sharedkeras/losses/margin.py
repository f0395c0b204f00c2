"""Losses made of differences of logits; attacks maximise them."""

import numpy as np
from keras import ops

from sharedkeras.losses.precision import full_precision

_GUARD = 1e-12  # The official AutoAttack's guard against equal logits.


def _pick(logits, y):
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    return ops.take_along_axis(logits, y[:, None], axis=-1)[:, 0]


def _strongest_other(logits, y):
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    own = ops.one_hot(y, logits.shape[-1], dtype="bool")
    lowest = ops.convert_to_tensor(-np.inf, dtype=logits.dtype)
    return ops.max(ops.where(own, lowest, logits), axis=-1)


def _need(logits, classes, name, instead):
    if logits.shape[-1] < classes:
        raise ValueError(
            f"`{name}` needs at least {classes} classes; use `{instead}`. "
            f"Received: logits.shape={tuple(logits.shape)}"
        )


@full_precision
def margin(y, logits):
    """Compute by how much the strongest wrong logit exceeds the true one.

        margin = max_{j != y} z_j - z_y

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor, K at least 2.

    Returns:
        `(batch,)` tensor, above 0 where the example is misclassified.

    Example:
        >>> logits = np.array([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]], "float32")
        >>> ops.convert_to_numpy(margin(np.array([0, 2]), logits)).tolist()
        [-2.0, 3.0]
    """
    _need(logits, 2, "margin", "more classes")
    return _strongest_other(logits, y) - _pick(logits, y)


@full_precision
def dlr(y, logits):
    """Compute the difference of logits ratio, which no rescaling of the logits changes.

        DLR = -(z_y - max_{j != y} z_j) / (z_(1) - z_(3))

    with z_(1) >= z_(2) >= ... the sorted logits. Gradients flow through the denominator. Where the true
    class ranks third the value is 1 and the gradient 0.

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor, K at least 3.

    Returns:
        `(batch,)` tensor, above 0 where the example is misclassified.

    Raises:
        ValueError: if there are fewer than three classes.

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020.

    Example:
        >>> logits = np.array([[4.0, 2.0, 0.0]], "float32")
        >>> values = [dlr(np.array([0]), scale * logits) for scale in (1.0, 8.0)]
        >>> [float(ops.convert_to_numpy(value)[0]) for value in values]
        [-0.5, -0.5]
    """
    _need(logits, 3, "dlr", "margin")
    top = ops.top_k(logits, 3)[0]
    return margin(y, logits) / (top[:, 0] - top[:, 2] + _GUARD)


@full_precision
def dlr_targeted(y, target, logits):
    """Compute the difference of logits ratio towards a target class.

        DLR_t = -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)

    Args:
        y: `(batch,)` integer labels.
        target: `(batch,)` integer classes to move towards.
        logits: `(batch, K)` tensor, K at least 4.

    Returns:
        `(batch,)` tensor; above 0 where the target's logit exceeds the true one.

    Raises:
        ValueError: if there are fewer than four classes.

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020.
    """
    _need(logits, 4, "dlr_targeted", "margin")
    top = ops.top_k(logits, 4)[0]
    spread = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return (_pick(logits, target) - _pick(logits, y)) / (spread + _GUARD)
