"""What Square Attack draws and tries: its random starts and changes, for each norm.

Every function works on each image by itself. Windows are made by comparing coordinates and not by
slicing, so that one compiled loop serves every side and every image has its own window.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from keras import ops

from sharedkeras.attacks.square import schedule
from sharedkeras.math import norms, random
from sharedkeras.math.projections import (
    clip_to_image,
    project_into_ball_and_box,
)

_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Proposals:
    """One norm's way of changing images at random.

    Attributes:
        side: `side(share, height, width) -> int`.
        windows: int, windows drawn for each iteration.
        start: `start(key, index, x, epsilon) -> (batch, H, W, C)`.
        change: `change(adv, x, epsilon, corners, signs, level, sides) -> (batch, H, W, C)`, `corners`
            `(batch, 2 * windows)` int32, `signs` `(batch, C + 1)` of which the last is a coin, `level`
            the scalar number of the entry of `sides`, a tuple of ints, that holds.
    """

    side: Callable
    windows: int
    start: Callable
    change: Callable


def _window(like, corner, side):
    """Return a `(batch, H, W, 1)` bool mask of squares with these top left corners."""

    def inside(size, first):
        at = ops.arange(size, dtype="int32")[None]
        return ops.logical_and(at >= first[:, None], at < first[:, None] + side)

    rows, columns = inside(like.shape[1], corner[:, 0]), inside(like.shape[2], corner[:, 1])
    return ops.logical_and(rows[:, :, None, None], columns[:, None, :, None])


def _linf_start(key, index, x, epsilon):
    # Vertical stripes: one sign per column and channel.
    signs = random.sign(random.key(key, "stripes"), index, (1, x.shape[2], x.shape[3]), x.dtype)
    return clip_to_image(x + norms.per_example(epsilon, x) * signs)


def _linf_change(adv, x, epsilon, corners, signs, level, sides):
    epsilon = norms.per_example(epsilon, x)
    side = ops.take(np.array(sides, "int32"), level)
    step = 2.0 * epsilon * signs[:, None, None, :-1]
    moved = adv + ops.where(_window(x, corners, side), step, ops.zeros_like(step))
    return clip_to_image(ops.maximum(ops.minimum(moved, x + epsilon), x - epsilon))


@functools.cache
def _tiles(height, width, norm):
    """Return each pixel's tile and its value there in both orientations; tiles are cut at the edge."""
    side = max(min(height, width) // 5, 1)
    first = max((min(height, width) - 5 * side) // 2, 0)
    pattern = schedule.eta(side, norm)
    down, across = height // side, width // side
    tile = np.zeros((height, width), "int32")
    values = np.zeros((2, height, width))
    for i in range(down):
        for j in range(across):
            top, left = first + i * side, first + j * side
            part = (slice(top, top + side), slice(left, left + side))
            rows, columns = tile[part].shape
            tile[part] = i * across + j
            values[0][part] = pattern[:rows, :columns]
            values[1][part] = pattern.T[:rows, :columns]
    return down * across, tile.reshape(-1), values.reshape(2, -1, 1)


def _bump_start(key, index, x, epsilon, norm):
    count, tile, values = _tiles(*x.shape[1:3], norm)
    upright, transposed = (ops.convert_to_tensor(v, dtype=x.dtype) for v in values)
    signs = random.sign(random.key(key, "tiles"), index, (count, x.shape[3] + 1), x.dtype)
    signs = ops.take(signs, ops.convert_to_tensor(tile), axis=1)
    delta = ops.where(signs[:, :, -1:] > 0.0, upright, transposed) * signs[:, :, :-1]
    return _SIZES[norm].fit(ops.reshape(delta, ops.shape(x)), x, epsilon)


@functools.cache
def _canvases(sides, height, width, norm):
    """Return both orientations of every side's pattern in the corner of an empty image."""
    table = np.zeros((len(sides), 2, height, width))
    for canvas, side in zip(table, sides, strict=True):
        canvas[0, :side, :side] = schedule.eta(side, norm)
        canvas[1, :side, :side] = schedule.eta(side, norm).T
    return table.reshape(len(sides), -1)


def _bump_change(adv, x, epsilon, corners, signs, level, sides, norm):
    _, height, width, channels = x.shape
    side = ops.take(np.array(sides, "int32"), level)
    first, second = (_window(x, c, side) for c in (corners[:, :2], corners[:, 2:]))
    delta = adv - x
    nothing = ops.zeros_like(delta)

    # The pattern of this side, one bump up and one down, at each image's first window.
    canvas = ops.take(
        ops.convert_to_tensor(_canvases(sides, height, width, norm), dtype=x.dtype), level, axis=0
    )
    row = ops.clip(ops.arange(height, dtype="int32")[None] - corners[:, :1], 0, height - 1)
    column = ops.clip(ops.arange(width, dtype="int32")[None] - corners[:, 1:2], 0, width - 1)
    row = row + height * ops.cast(signs[:, -1:] < 0.0, "int32")
    bumps = ops.take(canvas, row[:, :, None] * width + column[:, None, :])[..., None]

    measure = _SIZES[norm]

    def size(part):
        return measure.of(part, (1, 2))  # for each channel

    inside = ops.where(first, delta, nothing)
    block = ops.where(first, bumps * signs[:, None, None, :-1], nothing) + inside / (
        size(inside) + _TINY
    )
    taken = ops.where(ops.logical_or(first, second), delta, nothing)
    # The new block gets what both windows had, and its share of what clipping had taken away.
    radius = norms.per_example(epsilon, x)
    budget = measure.budget(radius, measure.of(delta, (1, 2, 3)), size(taken), channels)
    block = block / (size(block) + _TINY) * budget
    return measure.fit(ops.where(first, block, ops.where(second, nothing, delta)), x, epsilon)


def _on_sphere(delta, x, epsilon):
    size = norms.per_example(norms.get("l2").size(delta), x)
    return clip_to_image(x + norms.per_example(epsilon, x) * delta / (size + _TINY))


def _in_ball(delta, x, epsilon):
    return project_into_ball_and_box(x, x + delta, epsilon)


def _l2_budget(epsilon, whole, window, channels):
    unused = ops.maximum(ops.square(epsilon) - ops.square(whole), 0.0)
    return ops.sqrt(unused / channels + ops.square(window))


def _l1_budget(epsilon, whole, window, channels):
    # The official code's last factor; what it gives too much the projection takes back.
    return (ops.maximum(epsilon - whole, 0.0) / channels + window) * channels


@dataclasses.dataclass(frozen=True)
class _Size:
    """What differs between L2 and L1: `of(part, axes)`, `budget(...)`, `fit(delta, x, epsilon)`."""

    of: Callable
    budget: Callable
    fit: Callable


_SIZES = {
    "l2": _Size(
        lambda part, axes: ops.sqrt(ops.sum(ops.square(part), axis=axes, keepdims=True)),
        _l2_budget,
        _on_sphere,
    ),
    "l1": _Size(
        lambda part, axes: ops.sum(ops.abs(part), axis=axes, keepdims=True), _l1_budget, _in_ball
    ),
}


_PROPOSALS = {
    "linf": Proposals(schedule.linf_side, 1, _linf_start, _linf_change),
    **{
        norm: Proposals(
            schedule.bump_side,
            2,
            functools.partial(_bump_start, norm=norm),
            functools.partial(_bump_change, norm=norm),
        )
        for norm in _SIZES
    },
}


def get(norm):
    """Find a norm's proposals.

    Args:
        norm: "linf", "l2" or "l1".

    Raises:
        ValueError: if there are none for this norm.
    """
    if norm not in _PROPOSALS:
        raise ValueError(f"`Square` knows the norms {sorted(_PROPOSALS)}. Received: norm={norm!r}")
    return _PROPOSALS[norm]
