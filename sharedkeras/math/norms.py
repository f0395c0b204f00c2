"""The norms in which a perturbation is bounded, resolved by name.

An algorithm asks the norm for a size, a projection, a direction or a start, and never which norm it is.
"""

import dataclasses
from collections.abc import Callable

from keras import ops

from sharedkeras.math import random

_TINY = 1e-12


def per_example(value, like):
    """Shape a float or a `(batch,)` tensor so that it multiplies examples.

    Args:
        value: float, scalar tensor or `(batch,)` tensor.
        like: `(batch, ...)` tensor whose type and rank decide.

    Returns:
        Scalar tensor, or tensor of shape `(batch, 1, ...)`.
    """
    value = ops.convert_to_tensor(value, dtype=like.dtype)
    if len(value.shape) == 0:
        return value
    return ops.reshape(value, (-1, *([1] * (len(like.shape) - 1))))


def _axes(x):
    return tuple(range(1, len(x.shape)))


@dataclasses.dataclass(frozen=True)
class Norm:
    """One way of measuring perturbations; every function works on each example by itself.

    Attributes:
        name: "linf", "l2" or "l1".
        dual: name of the norm in which gradients are measured.
        size: `size(d) -> (batch,)`.
        project: `project(d, epsilon)`: the nearest point of the ball, `epsilon` float or `(batch,)`.
        direction: `direction(g)`: the step of unit size that raises a linear function the most.
        ball: `ball(key, index, shape, dtype)`: a random start for PGD inside the unit ball.
        sphere: `sphere(key, index, shape, dtype)`: a random start of unit size for APGD.
    """

    name: str
    dual: str
    size: Callable
    project: Callable
    direction: Callable
    ball: Callable
    sphere: Callable


def _linf_size(d):
    return ops.max(ops.abs(d), axis=_axes(d))


def _l2_size(d):
    return ops.sqrt(ops.sum(ops.square(d), axis=_axes(d)))


def _l1_size(d):
    return ops.sum(ops.abs(d), axis=_axes(d))


def _linf_project(d, epsilon):
    epsilon = per_example(epsilon, d)
    return ops.maximum(ops.minimum(d, epsilon), -epsilon)


def _l2_project(d, epsilon):
    size = per_example(_l2_size(d), d)
    return d * ops.minimum(1.0, per_example(epsilon, d) / ops.maximum(size, _TINY))


def _l1_project(d, epsilon):
    # Duchi et al. 2008: soft-threshold by the value at which the sorted magnitudes use up the ball.
    shape = ops.shape(d)
    flat = ops.abs(ops.reshape(d, (shape[0], -1)))
    epsilon = ops.broadcast_to(ops.reshape(per_example(epsilon, d), (-1, 1)), (shape[0], 1))
    falling = -ops.sort(-flat, axis=1)
    count = ops.cast(ops.arange(1, falling.shape[1] + 1), d.dtype)
    threshold = (ops.cumsum(falling, axis=1) - epsilon) / count
    rank = ops.sum(ops.cast(falling > threshold, "int32"), axis=1, keepdims=True)
    level = ops.take_along_axis(threshold, ops.maximum(rank, 1) - 1, axis=1)
    level = ops.where(ops.sum(flat, axis=1, keepdims=True) <= epsilon, 0.0, level)
    kept = ops.maximum(flat - level, 0.0)
    return ops.sign(d) * ops.reshape(kept, shape)


def _l2_direction(g):
    return g / (per_example(_l2_size(g), g) + _TINY)


def _l1_direction(g):
    largest = ops.max(ops.abs(g), axis=_axes(g), keepdims=True)
    kept = ops.where(ops.abs(g) >= largest, ops.sign(g), 0.0)
    return kept / ops.maximum(ops.sum(ops.abs(kept), axis=_axes(g), keepdims=True), 1.0)


def _linf_ball(key, index, shape, dtype):
    return 2.0 * random.uniform(key, index, shape, dtype) - 1.0


def _linf_sphere(key, index, shape, dtype):
    u = _linf_ball(key, index, shape, dtype)
    return u / (per_example(_linf_size(u), u) + _TINY)


def _l2_sphere(key, index, shape, dtype):
    return _l2_direction(random.normal(key, index, shape, dtype))


def _l2_ball(key, index, shape, dtype):
    # The radius is uniform, as in torchattacks' PGD, so most starts are nearer than in a uniform ball.
    radius = random.uniform(random.key(key, "radius"), index, (1,) * len(shape), dtype)
    return radius * _l2_sphere(key, index, shape, dtype)


def _l1_sphere(key, index, shape, dtype):
    g = random.normal(key, index, shape, dtype)
    return g / (per_example(_l1_size(g), g) + _TINY)


def _l1_ball(key, index, shape, dtype):
    radius = random.uniform(random.key(key, "radius"), index, (1,) * len(shape), dtype)
    return radius * _l1_sphere(key, index, shape, dtype)


_NORMS = {
    "linf": Norm("linf", "l1", _linf_size, _linf_project, ops.sign, _linf_ball, _linf_sphere),
    "l2": Norm("l2", "l2", _l2_size, _l2_project, _l2_direction, _l2_ball, _l2_sphere),
    "l1": Norm("l1", "linf", _l1_size, _l1_project, _l1_direction, _l1_ball, _l1_sphere),
}


def get(name):
    """Find a norm by its name.

    Args:
        name: "linf", "l2" or "l1".

    Returns:
        `Norm`.

    Raises:
        ValueError: if there is no such norm.
    """
    if name not in _NORMS:
        raise ValueError(f"Unknown norm; known are {sorted(_NORMS)}. Received: norm={name!r}")
    return _NORMS[name]
