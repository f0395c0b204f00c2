"""Projected gradient descent."""

import dataclasses
import functools
import math
from typing import ClassVar

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks import steps
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.steps import Step
from sharedkeras.attacks.verdict import is_wrong, merge_runs, select, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.math.projections import clip_to_ball_and_image, clip_to_image
from sharedkeras.models.classifiers.gradients import input_gradient, mean_logits

_STARTS = ("uniform", "gaussian", None)
_GAUSSIAN_SCALE = 0.001  # The start of the official TRADES and MART code.
_REACH = 2.5  # How far all steps together go, in units of epsilon, as in Madry et al.


@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Steepest ascent of a loss inside a ball, projected after every step.

        x <- clip(x0 + project(x + step_size * direction(gradient) - x0)),  direction = sign for Linf

    With the default settings it is the PGD of the tables: the last iterate counts, whatever its loss.
    `keep_best` returns the iterate of the largest loss instead, and more `restarts` keep for each
    example a successful run, else the one of the largest loss. `step` is the way from a gradient to a
    step: another one is another attack with the same loop.

    `trace` holds "loss", `(steps, batch)`, the loss before each step. `early_stop` changes nothing, for
    the last iterate is judged.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        step_size: float above 0, the size of a step in the same norm, or None for
            2.5 epsilon / steps, where each example's own ball counts if they differ.
        steps: int, at least 1.
        random_start: "uniform" (Linf: uniform in the cube; L2: random direction, uniform radius),
            "gaussian" (0.001 times a standard normal, as TRADES starts), or None.
        restarts: int, at least 1; only of use with a random start.
        loss: "ce", "margin", "soft-margin" or "dlr".
        keep_best: bool, whether to return the iterate of the largest loss instead of the last.
        step: "steepest" or another name of `sharedkeras.attacks.steps`, or a `Step` of one's own.
        eot_samples: int, draws of a randomised network for each gradient.

    Raises:
        ValueError: if a value is out of range.

    Reference: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    step_size: float | None = 2 / 255
    steps: int = 10
    random_start: str | None = "uniform"
    restarts: int = 1
    loss: str = "ce"
    keep_best: bool = False
    step: str | Step = "steepest"
    eot_samples: int = 1

    role: ClassVar[str] = "fixed-step"
    ends_at_iterate: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        losses.get(self.loss)
        need_positive(epsilon=self.epsilon)
        if self.step_size is not None:
            need_positive(step_size=self.step_size)
        need_count(steps=self.steps, restarts=self.restarts, eot_samples=self.eot_samples)
        need_one_of(_STARTS, random_start=self.random_start)
        steps.get(self.step)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example."""
        return self.steps * self.restarts * self.eot_samples

    def most_queries(self, num_classes):
        """Return the passes of every example, since none leaves early."""
        restarts = self.restarts if self.random_start else 1
        return restarts * self.eot_samples * (self.steps + 1 + int(self.keep_best))

    def craft(self, task):
        """Climb from each start, and keep for each example a success, else the largest loss."""
        restarts = self.restarts if task.start is None and self.random_start else 1
        key = random.key(task.seed, self.kind)
        runs = (self._once(task, random.key(key, restart)) for restart in range(restarts))
        return functools.reduce(merge_runs, runs)

    def _once(self, task, key):
        classifier, x, y, epsilon = task.classifier, task.x, task.y, task.epsilon
        norm = norms.get(self.norm)
        score = losses.get(self.loss if task.loss is None else task.loss)
        name = (self, task.loss)

        def begin(_, x, key, index, epsilon):
            return clip_to_image(self._start(norm, x, key, index, epsilon))

        def step(view, _, carry, constants):
            return self._step(view, score, norm, carry, constants)

        def finish(view, carry, constants):
            return self._finish(view, score, norm, carry, constants)

        if task.start is None:
            adv = classifier.apply(("start", *name), begin, x, key, task.index, epsilon)
        else:
            adv = clip_to_image(task.start)
        worst = ops.full((ops.shape(x)[0],), -math.inf, dtype=x.dtype)
        best = (adv,) if self.keep_best else ()
        carry = (adv, worst, classifier.state, steps.get(self.step).begin(x), *best)
        constants = (x, y, epsilon)
        record = None
        if task.trace:
            record = {"loss": []}
            for i in range(self.steps):
                before = score(y, classifier.predict(carry[0]))
                record["loss"].append(before)
                carry = classifier.iterate(name, step, carry, constants, i, i + 1)
            record = {"loss": ops.stack(record["loss"])}
        else:
            carry = classifier.iterate(name, step, carry, constants, 0, self.steps)
        adv, worst, success, distance = classifier.apply(("finish", *name), finish, carry, constants)
        passes = self.eot_samples * (self.steps + 1 + int(self.keep_best))
        queries = ops.full((ops.shape(x)[0],), passes, dtype="int32")
        return AttackResult(adv, success, worst, distance, queries, record)

    def _start(self, norm, x, key, index, epsilon):
        shape = tuple(x.shape[1:])
        if self.random_start == "uniform":
            return x + norms.per_example(epsilon, x) * norm.ball(key, index, shape, x.dtype)
        if self.random_start == "gaussian":
            return x + _GAUSSIAN_SCALE * random.normal(key, index, shape, x.dtype)
        return x

    def _step(self, view, score, norm, carry, constants):
        adv, worst, state, memory, *best = carry
        x, y, epsilon = constants
        value, _, gradient, state = input_gradient(view, score, y, adv, state, self.eot_samples)
        best = [select(value > worst, adv, b) for b in best]
        direction, memory = steps.get(self.step).direction(norm, gradient, memory)
        size = _REACH * epsilon / self.steps if self.step_size is None else self.step_size
        moved = adv + norms.per_example(size, x) * direction
        adv = clip_to_ball_and_image(norm, x, moved, epsilon)
        return (adv, ops.maximum(value, worst), state, memory, *best)

    def _finish(self, view, score, norm, carry, constants):
        adv, worst, state, _, *best = carry
        x, y, epsilon = constants
        logits, state = mean_logits(view, adv, state, self.eot_samples)
        value = score(y, logits)
        if self.keep_best:
            adv = select(value > worst, adv, best[0])
            logits, state = mean_logits(view, adv, state, self.eot_samples)
        success, distance = success_and_distance(norm, x, adv, is_wrong(y, logits), epsilon)
        return adv, ops.maximum(value, worst), success, distance
