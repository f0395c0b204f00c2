"""The moves of APGD in the norms Linf and L2: momentum, and steps that halve themselves."""

import dataclasses
from typing import Any, NamedTuple

from keras import ops

from sharedkeras.attacks.verdict import select
from sharedkeras.math import norms
from sharedkeras.math.projections import clip_to_ball_and_image, clip_to_image

_MOMENTUM = 0.75
_FIRST_WINDOW, _SHRINK, _LEAST_WINDOW = 0.22, 0.03, 0.06


def checkpoints(steps):
    """List the iterations after which APGD looks back and may halve its step.

    The windows between them shrink from 22 to 6 percent of the iterations, by 3 percent at a time; for
    100 iterations they end after 22, 41, 57, 70, 80, 87, 93 and 99.

    Args:
        steps: int, iterations of the attack.

    Returns:
        List of rising ints, at most `steps`.
    """
    window = max(int(_FIRST_WINDOW * steps), 1)
    shrink = max(int(_SHRINK * steps), 1)
    least = max(int(_LEAST_WINDOW * steps), 1)
    ends, end = [], window
    while end <= steps:
        ends.append(end)
        window = max(window - shrink, least)
        end += window
    return ends


class _Memory(NamedTuple):
    old: Any  # The iterate before this one, for the momentum.
    previous: Any  # The loss at this iterate.
    count: Any  # Iterations of this window that raised the loss.
    step_size: Any
    halved: Any  # Whether the step was halved at the last checkpoint.
    best_before: Any  # The best loss at the last checkpoint.


@dataclasses.dataclass(frozen=True)
class MomentumMoves:
    """How APGD moves in Linf and L2, and when it halves its step.

    With P the projection onto the ball, then onto [0, 1]:

        v = P(x_i + s * direction(g)),  x_(i+1) = P(x_i + a (v - x_i) + (1 - a)(x_i - x_(i-1)))

    with a = 1 in the first iteration and 0.75 after it. At the end of a window of k iterations the step
    is halved, and the best iterate becomes the current one, where at most rho * k iterations raised the
    loss, or where neither the step was halved nor the best loss raised since the checkpoint before.

    Args:
        norm: "linf" or "l2".

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020, Algorithm 1.
    """

    norm: str

    def phases(self, steps):
        """List the phases of a run: the factor of the radius and the iterations of each."""
        return [(1.0, steps)]

    def checkpoints(self, steps):
        """List the iterations after which `look_back` is called."""
        return checkpoints(steps)

    def random_start(self, key, x, index, epsilon):
        """Draw first iterates on the surface of the ball."""
        norm = norms.get(self.norm)
        return x + norms.per_example(epsilon, x) * norm.sphere(key, index, tuple(x.shape[1:]), x.dtype)

    def enter(self, x, start, epsilon):
        """Return a phase's first iterates."""
        return clip_to_image(start)

    def begin(self, adv, x, epsilon):
        """Return what the moves remember, before the first of them."""
        zero = ops.zeros_like(epsilon)
        # At the first checkpoint the step cannot count as unhalved, whatever `best_before` is.
        return _Memory(adv, zero, zero, 2.0 * epsilon, ops.ones_like(epsilon, dtype="bool"), zero)

    def move(self, i, adv, gradient, memory, x, epsilon):
        """Return the next iterate."""
        norm = norms.get(self.norm)

        def project(point):
            return clip_to_ball_and_image(norm, x, point, epsilon)

        share = ops.cast(ops.where(i < 1, 1.0, _MOMENTUM), x.dtype)
        step_size = norms.per_example(memory.step_size, x)
        straight = project(adv + step_size * norm.direction(gradient))
        return project(adv + share * (straight - adv) + (1.0 - share) * (adv - memory.old))

    def observe(self, i, memory, adv, value):
        """Remember the iterate that was left and the loss at the new one.

        The loss of iteration 0 is compared with 0 instead of the loss at the start, as the official
        code does; it counts as raised for the cross-entropy, and for DLR where the image is fooled.
        """
        started = i >= 0
        raised = ops.cast(ops.logical_and(started, value > memory.previous), value.dtype)
        previous = ops.where(started, value, ops.zeros_like(value))
        return memory._replace(old=adv, previous=previous, count=memory.count + raised)

    def look_back(self, ascent, limit, x, epsilon):
        """End a window: halves the step and return to the best iterate where it pays.

        Args:
            ascent: the state of the run, with `adv`, `gradient`, `best`, `best_gradient`, `best_loss`.
            limit: scalar tensor, rho * k.
            x: `(batch, H, W, C)` clean images.
            epsilon: `(batch,)` radii.

        Returns:
            The state after the checkpoint.
        """
        memory = ascent.memory
        oscillates = memory.count <= limit  # The paper has <, the official code <=.
        stuck = ops.logical_and(ops.logical_not(memory.halved), memory.best_before >= ascent.best_loss)
        halve = ops.logical_or(oscillates, stuck)
        # `old` stays, as in the official code: the next momentum leads from it to the best iterate.
        return ascent._replace(
            adv=select(halve, ascent.best, ascent.adv),
            gradient=select(halve, ascent.best_gradient, ascent.gradient),
            memory=memory._replace(
                count=ops.zeros_like(memory.count),
                step_size=ops.where(halve, 0.5 * memory.step_size, memory.step_size),
                halved=halve,
                best_before=ascent.best_loss,
            ),
        )
