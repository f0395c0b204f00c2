"""Projected gradient descent."""

import dataclasses
import math

import keras
from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult, prepare, radius
from sharedkeras.attacks.verdict import clip_to_image, is_wrong, select, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.models.classifiers.gradients import input_gradient, mean_logits

_STARTS = ("uniform", "gaussian", None)
_GAUSSIAN_SCALE = 0.001  # The start of the official TRADES and MART code.


@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Steepest ascent of a loss inside a ball, projected after every step.

        x <- clip(x0 + project(x + step_size * direction(gradient) - x0)),  direction = sign for Linf

    With the default settings it is the PGD of the tables: the last iterate counts, whatever its loss.
    `keep_best` returns the iterate of the largest loss instead, and more `restarts` keep for each
    example a successful run, else the one of the largest loss.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        step_size: float above 0, the size of a step in the same norm.
        steps: int, at least 1.
        random_start: "uniform" (Linf: uniform in the cube; L2: random direction, uniform radius),
            "gaussian" (0.001 times a standard normal, as TRADES starts), or None.
        restarts: int, at least 1; only of use with a random start.
        loss: "ce", "margin" or "dlr".
        keep_best: bool, whether to return the iterate of the largest loss instead of the last.
        eot_samples: int, draws of a randomised network for each gradient.

    Raises:
        ValueError: if a value is out of range.

    Reference: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    random_start: str | None = "uniform"
    restarts: int = 1
    loss: str = "ce"
    keep_best: bool = False
    eot_samples: int = 1

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        losses.get(self.loss)
        need_positive(epsilon=self.epsilon, step_size=self.step_size)
        need_count(steps=self.steps, restarts=self.restarts, eot_samples=self.eot_samples)
        need_one_of(_STARTS, random_start=self.random_start)

    def run(
        self,
        classifier,
        x,
        y,
        *,
        seed,
        loss=None,
        epsilon=None,
        index=None,
        start=None,
        trace=False,
        early_stop=False,
    ):
        """Crafts adversarial images and tells how it went.

        Args:
            classifier: `FrozenClassifier`.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key.
            loss: `loss(y, logits) -> (batch,)` that replaces the attack's own.
            epsilon: `(batch,)` sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers, which decide their random draws.
            start: `(batch, H, W, C)` images that replace the random start.
            trace: bool, whether to record the loss before each step.
            early_stop: bool, accepted for uniformity; this attack judges its last iterate.

        Returns:
            `AttackResult`. Where `loss` is given and `y` is no label, `success` is False.
        """
        classifier, x, y, index = prepare(classifier, x, y, index)
        epsilon = radius(self, epsilon, x)
        restarts = self.restarts if start is None and self.random_start else 1
        key = random.key(seed, type(self).__name__)
        best = None
        for restart in range(restarts):
            run = self._once(
                classifier, x, y, random.key(key, restart), loss, epsilon, index, start, trace
            )
            best = run if best is None else _better(best, run)
        return best

    def _once(self, classifier, x, y, key, loss, epsilon, index, start, trace):
        norm = norms.get(self.norm)
        score = losses.get(self.loss if loss is None else loss)
        name = (self, loss)

        def begin(_, x, key, index, epsilon):
            return clip_to_image(self._start(norm, x, key, index, epsilon))

        def step(view, _, carry, constants):
            return self._step(view, score, norm, carry, constants)

        def finish(view, carry, constants):
            return self._finish(view, score, norm, carry, constants)

        if start is None:
            adv = classifier.apply(("start", *name), begin, x, key, index, epsilon)
        else:
            adv = clip_to_image(ops.convert_to_tensor(start, dtype=x.dtype))
        worst = ops.full((ops.shape(x)[0],), -math.inf, dtype=x.dtype)
        carry = (adv, worst, classifier.state, adv) if self.keep_best else (adv, worst, classifier.state)
        constants = (x, y, epsilon)
        record = None
        if trace:
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
        adv, worst, state, *best = carry
        x, y, epsilon = constants
        value, _, gradient, state = input_gradient(view, score, y, adv, state, self.eot_samples)
        best = [select(value > worst, adv, b) for b in best]
        moved = adv + self.step_size * norm.direction(gradient)
        adv = clip_to_image(x + norm.project(moved - x, epsilon))
        return (adv, ops.maximum(value, worst), state, *best)

    def _finish(self, view, score, norm, carry, constants):
        adv, worst, state, *best = carry
        x, y, epsilon = constants
        logits, state = mean_logits(view, adv, state, self.eot_samples)
        value = score(y, logits)
        if self.keep_best:
            adv = select(value > worst, adv, best[0])
            logits, state = mean_logits(view, adv, state, self.eot_samples)
        labelled = len(y.shape) == 1 and not keras.backend.is_float_dtype(
            keras.backend.standardize_dtype(y.dtype)
        )
        wrong = is_wrong(y, logits) if labelled else ops.zeros_like(value, dtype="bool")
        success, distance = success_and_distance(norm, x, adv, wrong, epsilon)
        return adv, ops.maximum(value, worst), success, distance


def _better(a, b):
    """Merge two runs: for each example a success first, then the larger loss."""
    take = ops.logical_and(
        ops.logical_not(a.success), ops.logical_or(b.success, b.best_loss > a.best_loss)
    )
    return AttackResult(
        select(take, b.adversarial, a.adversarial),
        ops.logical_or(a.success, b.success),
        ops.maximum(a.best_loss, b.best_loss),
        ops.minimum(a.distance, b.distance),
        a.queries + b.queries,
        a.trace,
    )
