"""The nearest point of a hyperplane inside [0, 1]^d, in the norms in which perturbations are measured.

FAB asks in every iteration where a linearised decision boundary comes nearest to an image. The answer
moves every coordinate against its weight, as far as the box leaves slack, until the hyperplane is met.
How far is one number per example, the root of a concave, piecewise linear, increasing function. Newton's
method started left of the root never passes it and ends, exactly, once the set of coordinates that have
reached the box stays the same: a handful of vectorised passes, where a sort of 3072 coordinates costs
more than the network's own gradient.

Reference: F. Croce, M. Hein, "Minimally distorted adversarial examples with a fast adaptive boundary
attack", 2020.
"""

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.math import norms

_L2_SMALLEST = 1e-8  # Weights up to here count as zero in L2, as in the authors' code.
_L1_HALVINGS = 40  # Enough for float32; the exact level follows from the coordinates it settles.
_INSIDE = 1.0 - 1e-6
_HALVINGS = {"float32": 26, "float64": 55}  # Two more than the type has bits.


def linf(point, normal, excess):
    """Find the shortest move in Linf from a point to a hyperplane within [0, 1]^d.

        d_i = -sign(excess w_i) min(level, slack_i),   sum_i |w_i| min(level, slack_i) = |excess|

    A hyperplane that misses the box gives the move to the corner nearest to it, a zero normal none.

    Args:
        point: `(batch, ...)` tensor in [0, 1].
        normal: `(batch, ...)` tensor `w`.
        excess: `(batch,)` tensor, `<w, point>` less the hyperplane's offset. Taken instead of the offset
            since the caller often knows it without cancellation.

    Returns:
        `(batch, ...)` tensor, the displacement.
    """
    weight, slack, direction, need = _one_sided(point, normal, excess)
    level = _root(need, weight, weight * slack, lambda level: slack > level)
    return _move(direction * ops.minimum(level, slack), point)


def l2(point, normal, excess):
    """Find the shortest move in L2 from a point to a hyperplane within [0, 1]^d.

        d_i = -sign(excess w_i) min(level |w_i|, slack_i)

    Weights of at most 1e-8 count as zero. Arguments, result and special cases are those of `linf`.
    """
    weight, slack, direction, need = _one_sided(point, normal, excess)
    weight = ops.where(weight > _L2_SMALLEST, weight, ops.zeros_like(weight))
    level = _root(need, weight * weight, weight * slack, lambda level: slack > level * weight)
    return _move(direction * ops.minimum(level * weight, slack), point)


def l1(point, normal, excess):
    """Find the shortest move in L1 from a point to a hyperplane within [0, 1]^d.

    The coordinates are used up in the order of their weights until the hyperplane is met. The weight at
    which this happens is found by bisection down to rounding, and the coordinates of that weight share
    what is left. Arguments, result and special cases are those of `linf`.
    """
    weight, slack, direction, need = _one_sided(point, normal, excess)
    gain, zeros = weight * slack, ops.zeros_like(weight)

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        used = ops.sum(ops.where(weight > middle, gain, zeros), axis=1, keepdims=True)
        return ops.where(used > need, middle, low), ops.where(used > need, high, middle)

    high = ops.max(weight, axis=1, keepdims=True)
    halvings = _HALVINGS[keras.backend.standardize_dtype(weight.dtype)]
    low, high = ops.fori_loop(0, halvings, halve, (ops.zeros_like(high), high))
    last = ops.logical_and(weight > low, weight <= high)
    left = need - ops.sum(ops.where(weight > high, gain, zeros), axis=1, keepdims=True)
    shared = ops.sum(ops.where(last, gain, zeros), axis=1, keepdims=True)
    share = ops.clip(left / ops.where(shared > 0, shared, ops.ones_like(shared)), 0.0, 1.0)
    size = ops.where(weight > high, slack, ops.where(last, share * slack, zeros))
    return _move(direction * size, point)


_PROJECTIONS = {"linf": linf, "l2": l2, "l1": l1}


def get(name):
    """Find a norm's projection by the norm's name.

    Args:
        name: "linf", "l2" or "l1".

    Returns:
        `linf`, `l2` or `l1`.

    Raises:
        ValueError: if there is no such norm.
    """
    if name not in _PROJECTIONS:
        raise ValueError(f"Unknown norm; known are {sorted(_PROJECTIONS)}. Received: norm={name!r}")
    return _PROJECTIONS[name]


def _flat(x):
    return x if len(x.shape) == 2 else ops.reshape(x, (ops.shape(x)[0], -1))


def _move(displacement, like):
    return displacement if len(like.shape) == 2 else ops.reshape(displacement, ops.shape(like))


def _one_sided(point, normal, excess):
    """Turn the problem so that every coordinate gains by moving a positive direction."""
    point, normal = _flat(point), _flat(normal)
    excess = ops.expand_dims(excess, 1)
    direction = ops.where(excess >= 0, -ops.sign(normal), ops.sign(normal))
    slack = ops.where(direction < 0, point, 1.0 - point)
    return ops.abs(normal), slack, direction, ops.abs(excess)


def _root(need, slope, full, free):
    """Solve `sum_i (slope_i level where free_i(level), else full_i) = need` for the level.

    Where even all coordinates at the end of their slack fall short, the level is one at which they are.
    """
    zeros = ops.zeros_like(slope)

    def newton(level, _):
        mask = free(level)
        rate = ops.sum(ops.where(mask, slope, zeros), axis=1, keepdims=True)
        left = need - ops.sum(ops.where(mask, zeros, full), axis=1, keepdims=True)
        new = left / ops.where(rate > 0, rate, ops.ones_like(rate))
        # Rounding must not lower the level: it then depends on the mask alone, and the loop ends.
        higher = ops.logical_and(rate > 0, new > level)
        return ops.where(higher, new, level), ops.any(higher)

    start = newton(ops.zeros_like(need), None)
    return ops.while_loop(lambda _, moving: moving, newton, start)[0]


def clip_to_image(x):
    """Clip to [0, 1]."""
    return ops.clip(x, 0.0, 1.0)


def clip_to_ball_and_image(norm, x, point, epsilon):
    """Project points onto a ball, then onto [0, 1]: inside both, though not the nearest such points.

    Args:
        norm: `Norm`.
        x: `(batch, H, W, C)` images in [0, 1], the balls' centres.
        point: `(batch, H, W, C)` tensor.
        epsilon: float or `(batch,)` radii.

    Returns:
        `(batch, H, W, C)` tensor in [0, 1].
    """
    return clip_to_image(x + norm.project(point - x, epsilon))


def project_into_ball_and_box(x, point, epsilon):
    """Project as `project_to_ball_and_box` does, onto a ball that is smaller by a millionth.

    The rounding of a sum over thousands of coordinates so carries no point out of the ball.
    """
    return project_to_ball_and_box(x, point, _INSIDE * epsilon)


def project_to_ball_and_box(x, point, epsilon):
    """Project points onto the intersection of an L1 ball and [0, 1].

    The nearest point moves every coordinate by the same amount towards the image, stopping there:

        d_i = clip(sign(t_i) max(|t_i| - level, 0), -x_i, 1 - x_i),  t = point - x

    with the smallest level at least 0 for which |d|_1 is at most epsilon.

    Args:
        x: `(batch, H, W, C)` images in [0, 1], the balls' centres.
        point: `(batch, H, W, C)` tensor.
        epsilon: `(batch,)` radii.

    Returns:
        `(batch, H, W, C)` tensor in [0, 1].

    Reference: F. Croce, M. Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
        classifiers", 2021, Proposition 2.1.
    """
    axes = (1, 2, 3)
    shift = point - x
    size = ops.abs(shift)
    slack = ops.where(shift > 0, 1.0 - x, x)

    def moved(level):
        return ops.minimum(ops.maximum(size - norms.per_example(level, x), 0.0), slack)

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        over = ops.sum(moved(middle), axis=axes) > epsilon
        return ops.where(over, middle, low), ops.where(over, high, middle)

    low, high = ops.zeros_like(epsilon), ops.max(size, axis=axes)
    low, high = backend.repeat(_L1_HALVINGS, halve, (low, high))
    # Between breakpoints |d|_1 is linear in the level, which the coordinates in motion give exactly.
    level = norms.per_example(high, x)
    free = ops.logical_and(size > level, size - level < slack)
    full = ops.logical_and(size > level, size - level >= slack)
    count = ops.sum(ops.cast(free, x.dtype), axis=axes)
    spent = ops.sum(ops.where(free, size, 0.0) + ops.where(full, slack, 0.0), axis=axes)
    exact = (spent - epsilon) / ops.maximum(count, 1.0)
    level = ops.where(count > 0, ops.minimum(ops.maximum(exact, low), high), high)
    fits = ops.sum(moved(ops.zeros_like(level)), axis=axes) <= epsilon
    level = ops.where(fits, ops.zeros_like(level), level)
    return ops.clip(x + ops.sign(shift) * moved(level), 0.0, 1.0)
