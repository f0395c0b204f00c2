"""Losses made of differences of logits; attacks maximise them."""

import numpy as np
from keras import ops

from sharedkeras.losses.cross_entropy import cross_entropy
from sharedkeras.losses.precision import full_precision

_GUARD = 1e-12  # The official AutoAttack's guard against equal logits.


def _pick(logits, y):
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    return ops.take_along_axis(logits, y[:, None], axis=-1)[:, 0]


def _others(logits, y):
    y = ops.cast(ops.convert_to_tensor(y), "int32")
    own = ops.one_hot(y, logits.shape[-1], dtype="bool")
    lowest = ops.convert_to_tensor(-np.inf, dtype=logits.dtype)
    return ops.where(own, lowest, logits)


def _strongest_other(logits, y):
    return ops.max(_others(logits, y), axis=-1)


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
def soft_margin(y, logits):
    """Compute the margin with the maximum of the wrong logits smoothed; max-margin training's own.

        SLM = log sum_{j != y} exp(z_j) - z_y

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor, K at least 2.

    Returns:
        `(batch,)` tensor, at least the margin.

    Reference: G. Ding et al., "MMA training: direct input space margin maximization through adversarial
        training", 2020.
    """
    _need(logits, 2, "soft_margin", "more classes")
    return ops.logsumexp(_others(logits, y), axis=-1) - _pick(logits, y)


@full_precision
def boosted_cross_entropy(y, logits, smoothing=0.0):
    """Compute the cross-entropy plus a margin term: the strongest wrong class is pushed down too.

        BCE = -log p_y - log(1 - max_{k != y} p_k)

    Where that class has nearly all the probability, 1 - p rounds to 0; here the other classes are
    summed, in log space, so the value and its gradient stay right, and no constant is needed.

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor, K at least 2.
        smoothing: float in [0, 1), label smoothing of the first term.

    Returns:
        `(batch,)` tensor, at least 0.

    Reference: Y. Wang et al., "Improving adversarial robustness requires revisiting misclassified
        examples", 2020.
    """
    strongest = ops.argmax(_others(logits, y), axis=-1)
    return cross_entropy(y, logits, smoothing) - log_complement(strongest, logits)


@full_precision
def log_complement(y, logits):
    """Compute the logarithm of the probability of all classes but one.

        log(1 - p_y) = log sum_{j != y} exp(z_j) - log sum_j exp(z_j)

    Args:
        y: `(batch,)` integer classes.
        logits: `(batch, K)` tensor, K at least 2.

    Returns:
        `(batch,)` tensor, at most 0.
    """
    _need(logits, 2, "log_complement", "more classes")
    return ops.logsumexp(_others(logits, y), axis=-1) - ops.logsumexp(logits, axis=-1)


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
