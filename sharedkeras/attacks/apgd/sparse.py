"""The moves of APGD in the norm L1: sparse steps from a larger ball to a smaller one."""

import dataclasses
import math
from typing import Any, NamedTuple

from keras import ops

from sharedkeras.attacks.verdict import select
from sharedkeras.math import norms, random
from sharedkeras.math.projections import project_into_ball_and_box

_PHASES = ((3.0, 0.3), (2.0, 0.3), (1.0, None))
"""Radius as a factor of epsilon, and the share of iterations; the last phase gets the rest."""
_WINDOW = 0.04
_SHRINK_STEP = 1.5
_SPARSER = 0.95
_SMALLEST_STEP = 0.1


class _Memory(NamedTuple):
    previous: Any  # The loss at this iterate.
    step_size: Any
    share: Any  # Of the coordinates that a step moves.
    changed: (
        Any  # Coordinates in which the best iterate differed from the image at the checkpoint before.
    )


@dataclasses.dataclass(frozen=True)
class SparseMoves:
    """How APGD moves in L1, where a good perturbation changes few coordinates.

    With P the Euclidean projection onto the intersection of the L1 ball and [0, 1]:

        x_(i+1) = P(x_i + s * u / |u|_1),  u = sign(g) on the coordinates of the largest |g|, else 0

    The share of coordinates follows the sparsity of the best iterate. Three phases with the radii 3, 2
    and 1 epsilon each start from the best iterate of the one before.

    Reference: F. Croce, M. Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
        classifiers", 2021, Algorithm 2.
    """

    def phases(self, steps):
        """List the phases of a run: the factor of the radius and the iterations of each."""
        phases, left = [], steps
        for factor, share in _PHASES:
            count = left if share is None else min(math.ceil(share * steps), left - 1)
            if count > 0:
                phases.append((factor, count))
                left -= count
        return phases

    def checkpoints(self, steps):
        """List the iterations after which `look_back` is called."""
        window = max(int(_WINDOW * steps), 1)
        return list(range(window, steps + 1, window))

    def random_start(self, key, x, index, epsilon):
        """Draw first iterates; `enter` brings them into the ball."""
        return x + random.normal(key, index, tuple(x.shape[1:]), x.dtype)

    def enter(self, x, start, epsilon):
        """Return a phase's first iterates."""
        return project_into_ball_and_box(x, start, epsilon)

    def begin(self, adv, x, epsilon):
        """Return what the moves remember, before the first of them."""
        changed = _count_changed(adv, x)
        return _Memory(ops.zeros_like(epsilon), epsilon, _share(changed, x), changed)

    def move(self, i, adv, gradient, memory, x, epsilon):
        """Return the next iterate."""
        size = math.prod(x.shape[1:])
        magnitude = ops.abs(ops.reshape(gradient, (-1, size)))
        rank = ops.cast((1.0 - memory.share) * size, "int32")
        rank = ops.clip(rank, 0, size - 1)
        level = ops.take_along_axis(ops.sort(magnitude, axis=1), rank[:, None], axis=1)[:, 0]
        kept = ops.where(ops.abs(gradient) >= norms.per_example(level, x), ops.sign(gradient), 0.0)
        total = ops.sum(ops.abs(kept), axis=(1, 2, 3))
        scale = memory.step_size / ops.maximum(total, 1.0)
        return project_into_ball_and_box(x, adv + norms.per_example(scale, x) * kept, epsilon)

    def observe(self, i, memory, adv, value):
        """Remember the loss at the new iterate."""
        return memory._replace(previous=value)

    def look_back(self, ascent, limit, x, epsilon):
        """End a window: a sparser best iterate resets the step, any other shortens it."""
        memory = ascent.memory
        changed = _count_changed(ascent.best, x)
        sparser = changed / ops.maximum(memory.changed, 1.0) < _SPARSER
        step_size = ops.where(sparser, epsilon, memory.step_size / _SHRINK_STEP)
        step_size = ops.minimum(ops.maximum(step_size, _SMALLEST_STEP * epsilon), epsilon)
        return ascent._replace(
            adv=select(sparser, ascent.best, ascent.adv),
            gradient=select(sparser, ascent.best_gradient, ascent.gradient),
            memory=memory._replace(step_size=step_size, share=_share(changed, x), changed=changed),
        )


def _count_changed(adv, x):
    return ops.sum(ops.cast(ops.not_equal(adv, x), x.dtype), axis=(1, 2, 3))


def _share(changed, x):
    return changed / (math.prod(x.shape[1:]) * 1.5)
