"""Verdicts on crafted images: is one misclassified, is it inside the ball and the image box."""

import math

from keras import ops

TOLERANCE = 1e-6
"""How far outside the ball rounding may carry an image: float32 gives 0.03137258 for 8/255."""


def is_wrong(y, logits):
    """Tells which examples are misclassified; of equal logits the lowest class wins.

    A row with a logit that is not finite counts as correct: such a network is refused elsewhere, and an
    attack must not be credited with it.

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` bool tensor.
    """
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    wrong = ops.not_equal(predicted, ops.cast(y, "int32"))
    return ops.logical_and(wrong, ops.all(ops.isfinite(logits), axis=-1))


def success_and_distance(norm, x, adv, wrong, epsilon):
    """Judges crafted images: misclassified, inside the ball and inside [0, 1].

    Args:
        norm: `Norm`.
        x: `(batch, H, W, C)` clean images.
        adv: `(batch, H, W, C)` crafted images.
        wrong: `(batch,)` bool, whether `adv` is misclassified.
        epsilon: float or `(batch,)`.

    Returns:
        `(success, distance)`, both `(batch,)`; the distance is infinite without success.
    """
    size = norm.size(adv - x)
    low = ops.min(adv, axis=(1, 2, 3)) >= 0.0
    high = ops.max(adv, axis=(1, 2, 3)) <= 1.0
    inside = ops.logical_and(size <= epsilon + TOLERANCE, ops.logical_and(low, high))
    success = ops.logical_and(wrong, inside)
    return success, ops.where(success, size, ops.full_like(size, math.inf))


def select(mask, a, b):
    """Take examples of `a` where the mask is true and of `b` elsewhere.

    Args:
        mask: `(batch,)` bool tensor.
        a: `(batch, ...)` tensor.
        b: `(batch, ...)` tensor of the same shape.
    """
    return ops.where(ops.reshape(mask, (-1, *([1] * (len(a.shape) - 1)))), a, b)


def clip_to_image(x):
    """Clips to [0, 1]."""
    return ops.clip(x, 0.0, 1.0)
