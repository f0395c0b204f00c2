"""Verdicts on crafted images: is one misclassified, is it inside the ball and the image box."""

import math

import keras
from keras import ops

TOLERANCE = 1e-6
"""How far outside the ball rounding may carry an image: float32 gives 0.03137258 for 8/255."""


def is_label(y):
    """Tell whether `y` holds labels, so that an example can be told to be misclassified.

    Args:
        y: what a loss compares with, a tensor or a nested structure of tensors.

    Returns:
        bool: whether it is one `(batch,)` tensor that is not of floats.
    """
    if keras.tree.is_nested(y) or len(y.shape) != 1:
        return False
    return not keras.backend.is_float_dtype(keras.backend.standardize_dtype(y.dtype))


def is_wrong(y, logits):
    """Tell which examples are misclassified; of equal logits the lowest class wins.

    A row with a logit that is not finite counts as correct: such a network is refused elsewhere, and an
    attack must not be credited with it.

    Args:
        y: `(batch,)` integer labels; of anything else nothing counts as misclassified.
        logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` bool tensor.
    """
    if not is_label(y):
        return ops.zeros_like(logits[:, 0], dtype="bool")
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    wrong = ops.not_equal(predicted, ops.cast(y, "int32"))
    return ops.logical_and(wrong, ops.all(ops.isfinite(logits), axis=-1))


def inside(norm, x, adv, epsilon):
    """Tell which crafted images are finite, inside the ball up to `TOLERANCE`, and inside [0, 1].

    Args:
        norm: `Norm`.
        x: `(batch, H, W, C)` clean images.
        adv: `(batch, H, W, C)` crafted images.
        epsilon: float or `(batch,)`.

    Returns:
        `(inside, size)`, both `(batch,)`: bool, and the size of the perturbation.
    """
    size = norm.size(adv - x)
    axes = (1, 2, 3)
    image = ops.logical_and(ops.min(adv, axis=axes) >= 0.0, ops.max(adv, axis=axes) <= 1.0)
    # Asked for by itself, since the smallest of some numbers and NaN is not NaN on every backend.
    finite = ops.all(ops.isfinite(adv), axis=axes)
    return ops.logical_and(size <= epsilon + TOLERANCE, ops.logical_and(image, finite)), size


def success_and_distance(norm, x, adv, wrong, epsilon):
    """Judge crafted images: misclassified, inside the ball and inside [0, 1].

    Args:
        norm: `Norm`.
        x: `(batch, H, W, C)` clean images.
        adv: `(batch, H, W, C)` crafted images.
        wrong: `(batch,)` bool, whether `adv` is misclassified.
        epsilon: float or `(batch,)`.

    Returns:
        `(success, distance)`, both `(batch,)`; the distance is infinite without success.
    """
    valid, size = inside(norm, x, adv, epsilon)
    success = ops.logical_and(wrong, valid)
    return success, ops.where(success, size, ops.full_like(size, math.inf))


def select(mask, a, b):
    """Take examples of `a` where the mask is true and of `b` elsewhere.

    Args:
        mask: `(batch,)` bool tensor.
        a: `(batch, ...)` tensor.
        b: `(batch, ...)` tensor of the same shape.
    """
    return ops.where(ops.reshape(mask, (-1, *([1] * (len(a.shape) - 1)))), a, b)


_MERGED = {
    "success": ops.logical_or,
    "best_loss": ops.maximum,
    "distance": ops.minimum,
    "queries": ops.add,
    "state": lambda earlier, later: later,
    "trace": lambda earlier, later: earlier,
}


def merge_runs(earlier, later):
    """Merge two runs on the same examples: of each the first success, else the larger loss.

    Args:
        earlier: named tuple with `success` and `best_loss`, both `(batch,)`, and further fields.
        later: named tuple of the same type.

    Returns:
        Named tuple. Images, and whatever has no rule of its own, are those of the run that is kept;
        `best_loss` is the larger, `distance` the smaller, `queries` the sum; of `trace` the earlier one
        stays, of `state` the later.
    """
    larger = ops.logical_or(later.success, later.best_loss > earlier.best_loss)
    take = ops.logical_and(ops.logical_not(earlier.success), larger)

    def keep(a, b):
        return select(take, b, a)

    fields = zip(earlier._fields, earlier, later, strict=True)
    return type(earlier)(*(_MERGED.get(name, keep)(a, b) for name, a, b in fields))
