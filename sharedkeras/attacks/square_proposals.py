"""What Square Attack draws and tries: its random starts and changes, for each norm.

Every function works on each image by itself. Windows are made by comparing coordinates and not by
slicing, so that one compiled loop serves every side and every image has its own window.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from keras import ops

from sharedkeras.attacks import square_schedule
from sharedkeras.attacks.attack import clip_to_image
from sharedkeras.math import norms, random

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
    """Returns a `(batch, H, W, 1)` bool mask of squares with these top left corners."""

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
def _tiles(height, width):
    """Returns each pixel's tile and its value there in both orientations; tiles are cut at the edge."""
    side = max(min(height, width) // 5, 1)
    first = max((min(height, width) - 5 * side) // 2, 0)
    pattern = square_schedule.eta(side)
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


def _l2_start(key, index, x, epsilon):
    count, tile, values = _tiles(*x.shape[1:3])
    upright, transposed = (ops.convert_to_tensor(v, dtype=x.dtype) for v in values)
    signs = random.sign(random.key(key, "tiles"), index, (count, x.shape[3] + 1), x.dtype)
    signs = ops.take(signs, ops.convert_to_tensor(tile), axis=1)
    delta = ops.where(signs[:, :, -1:] > 0.0, upright, transposed) * signs[:, :, :-1]
    return _on_sphere(ops.reshape(delta, ops.shape(x)), x, epsilon)


@functools.cache
def _canvases(sides, height, width):
    """Returns both orientations of every side's pattern in the corner of an empty image."""
    table = np.zeros((len(sides), 2, height, width))
    for canvas, side in zip(table, sides, strict=True):
        canvas[0, :side, :side] = square_schedule.eta(side)
        canvas[1, :side, :side] = square_schedule.eta(side).T
    return table.reshape(len(sides), -1)


def _l2_change(adv, x, epsilon, corners, signs, level, sides):
    _, height, width, channels = x.shape
    side = ops.take(np.array(sides, "int32"), level)
    first, second = (_window(x, c, side) for c in (corners[:, :2], corners[:, 2:]))
    delta = adv - x
    nothing = ops.zeros_like(delta)

    # The pattern of this side, one bump up and one down, at each image's first window.
    canvas = ops.take(
        ops.convert_to_tensor(_canvases(sides, height, width), dtype=x.dtype), level, axis=0
    )
    row = ops.clip(ops.arange(height, dtype="int32")[None] - corners[:, :1], 0, height - 1)
    column = ops.clip(ops.arange(width, dtype="int32")[None] - corners[:, 1:2], 0, width - 1)
    row = row + height * ops.cast(signs[:, -1:] < 0.0, "int32")
    bumps = ops.take(canvas, row[:, :, None] * width + column[:, None, :])[..., None]

    def size(part):
        return ops.sqrt(ops.sum(ops.square(part), axis=(1, 2), keepdims=True))  # for each channel

    inside = ops.where(first, delta, nothing)
    block = ops.where(first, bumps * signs[:, None, None, :-1], nothing) + inside / (
        size(inside) + _TINY
    )
    unused = ops.square(norms.per_example(epsilon, x)) - ops.sum(
        ops.square(delta), axis=(1, 2, 3), keepdims=True
    )
    taken = ops.where(ops.logical_or(first, second), delta, nothing)
    # The new block gets what both windows had, and its share of what clipping had taken away.
    budget = ops.sqrt(ops.maximum(unused, 0.0) / channels + ops.square(size(taken)))
    block = block / (size(block) + _TINY) * budget
    return _on_sphere(ops.where(first, block, ops.where(second, nothing, delta)), x, epsilon)


def _on_sphere(delta, x, epsilon):
    size = norms.per_example(norms.get("l2").size(delta), x)
    return clip_to_image(x + norms.per_example(epsilon, x) * delta / (size + _TINY))


_PROPOSALS = {
    "linf": Proposals(square_schedule.linf_side, 1, _linf_start, _linf_change),
    "l2": Proposals(square_schedule.l2_side, 2, _l2_start, _l2_change),
}


def get(norm):
    """Finds a norm's proposals.

    Args:
        norm: "linf" or "l2".

    Raises:
        ValueError: if there are none for this norm.
    """
    if norm not in _PROPOSALS:
        raise ValueError(f"`Square` knows the norms {sorted(_PROPOSALS)}. Received: norm={norm!r}")
    return _PROPOSALS[norm]
