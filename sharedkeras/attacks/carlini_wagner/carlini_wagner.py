"""Carlini and Wagner's search for the nearest misclassified image."""

import dataclasses
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from sharedkeras import backend, losses
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult, prepare
from sharedkeras.attacks.verdict import TOLERANCE, clip_to_image, is_wrong, select
from sharedkeras.math import norms
from sharedkeras.models.classifiers.gradients import input_gradient, mean_logits

_COMPAT = (None, "torchattacks")
_SHRINK = 0.999999  # Of the authors' code: keeps atanh finite, so that black and white pixels can move.
_PROGRESS = 1e-4  # Of the authors' code: a tenth of the steps must lower the cost by this share.
_NO_UPPER = 1e10  # Of the authors' code: the upper bound on c before any success, ...
_HAS_UPPER = 1e9  # ... and the bound below which it counts as one.
_BETA1, _BETA2, _ADAM_GUARD = 0.9, 0.999, 1e-8


class _Search(NamedTuple):
    """What one step hands to the next; all per example, but for the classifier's state."""

    w: Any  # the image in the space of tanh
    mean: Any  # Adam's two averages
    square: Any
    c: Any
    lower: Any  # bounds on c
    upper: Any
    found: Any  # whether this value of c has succeeded
    active: Any  # whether this value of c may still improve
    done: Any  # whether no further value of c is needed
    previous: Any  # the cost at the last check of progress
    best: Any  # the nearest success and its squared distance
    best_size: Any
    queries: Any
    state: Any
    seen: Any  # of the last step: squared distance, f, cost, predicted class


@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """Minimises distance and margin together, in a space where every image is a valid one.

        minimise ||x' - x||_2^2 + c * f(x'),  x' = (tanh(w) + 1) / 2,
        f(x') = max(z_y - max_{j != y} z_j, -kappa)

    by Adam on w, for each example its own smallest c that succeeds: from `initial_c` times ten until a
    success, then bisection. It is no attack within a ball: it looks for the nearest success, however
    far, and `epsilon` only judges what it found.

    `compat="torchattacks"` instead does what tables made with torchattacks report. It differs in four
    ways, each of which makes it weaker: c is fixed (`c`); logits below zero count as zero in f; pixels
    that are exactly 0 or 1 never move; and the whole batch stops as soon as its summed cost has risen,
    so that a result depends on the batch.

    Args:
        epsilon: float above 0, the distance up to which a success counts, or None for any distance.
        c: float above 0, the weight of f under `compat="torchattacks"`.
        kappa: float, at least 0, by how much the wrong logit must exceed the true one.
        steps: int, at least 1, for each value of c.
        learning_rate: float above 0, Adam's.
        compat: None or "torchattacks".
        search_steps: int, at least 1, values of c that are tried; with ten or more the last one is the
            smallest that succeeded. Of no effect under `compat`.
        initial_c: float above 0, the first value of c. Of no effect under `compat`.
        eot_samples: int, draws of a randomised network for each gradient.

    Raises:
        ValueError: if a value is out of range.

    Reference: N. Carlini, D. Wagner, "Towards evaluating the robustness of neural networks", 2017.
    """

    norm: str = "l2"
    epsilon: float | None = None
    c: float = 1.0
    kappa: float = 0.0
    steps: int = 50
    learning_rate: float = 0.01
    compat: str | None = None
    search_steps: int = 9
    initial_c: float = 1e-2
    eot_samples: int = 1

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        need_one_of(("l2",), norm=self.norm)
        need_one_of(_COMPAT, compat=self.compat)
        need_positive(c=self.c, learning_rate=self.learning_rate, initial_c=self.initial_c)
        need_count(steps=self.steps, search_steps=self.search_steps, eot_samples=self.eot_samples)
        if self.epsilon is not None:
            need_positive(epsilon=self.epsilon)
        if self.kappa != 0:
            need_positive(kappa=self.kappa)

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
            y: `(batch,)` integer labels.
            seed: int or `(2,)` uint32 key, of no effect: nothing is drawn.
            loss: refused, since f is what the attack is made of.
            epsilon: `(batch,)` distances that replace the attack's own.
            index: `(batch,)` int32, of no effect.
            start: `(batch, H, W, C)` images from which the search starts instead of `x`.
            trace: bool, whether to record "sq_l2", "f", "cost" and "predicted" at each forward pass;
                passes that no example needed are left out. Slower, and not inside a graph.
            early_stop: bool, whether an example is left alone at its first success within `epsilon`,
                when only the verdict matters and not the distance.

        Returns:
            `AttackResult`: `adversarial` is the nearest success, the clean image without one or where
            it is farther than `epsilon`; `distance` is its L2 distance even beyond `epsilon`;
            `best_loss` is minus f there, or minus infinity.

        Raises:
            ValueError: if a loss is given or `y` holds no labels.
        """
        if loss is not None:
            raise ValueError(
                "`CarliniWagner` minimises its own margin; a loss cannot replace it. "
                f"Received: loss={loss!r}"
            )
        classifier, x, y, _ = prepare(classifier, x, y, index)
        if len(y.shape) != 1 or "int" not in keras.backend.standardize_dtype(y.dtype):
            raise ValueError(
                "`CarliniWagner` needs integer labels of shape (batch,). "
                f"Received: y of shape {tuple(y.shape)} and type {y.dtype}"
            )
        given = self.epsilon if epsilon is None else epsilon
        epsilon = ops.convert_to_tensor(math.inf if given is None else given, dtype=x.dtype)
        start = x if start is None else clip_to_image(ops.convert_to_tensor(start, dtype=x.dtype))
        name = (self, early_stop)
        constants = (x, y, start, epsilon)

        def begin(view, state, constants):
            return self._begin(view, state, constants)

        def step(view, i, search, constants):
            return self._step(view, i, search, constants, early_stop)

        def finish(view, search, constants):
            return self._finish(view, search, constants)

        search = classifier.apply(("begin", *name), begin, classifier.state, constants)
        search, record = self._search(classifier, name, step, search, constants, trace)
        adv, success, best_loss, distance = classifier.apply(
            ("finish", *name), finish, search, constants
        )
        queries = search.queries + self.eot_samples
        return AttackResult(adv, success, best_loss, distance, queries, record)

    def _search(self, classifier, name, step, search, constants, trace):
        """Run the steps for every c, and skip those that no example needs any more."""
        total = self.steps * (1 if self.compat else self.search_steps)
        if backend.is_tracing((search, constants)):
            return classifier.iterate(name, step, search, constants, 0, total), None
        record = [] if trace else None
        piece = 1 if trace else self._every
        at = 0
        while at < total:
            ahead = min(at + piece, total, (at // self.steps + 1) * self.steps)
            search = classifier.iterate(name, step, search, constants, at, ahead)
            at = ahead
            if trace:
                record.append(search.seen)
            if not np.any(ops.convert_to_numpy(search.active)):
                at = -(-at // self.steps) * self.steps  # to the next value of c
            if not self.compat and np.all(ops.convert_to_numpy(search.done)):
                break
        if trace:
            names = ("sq_l2", "f", "cost", "predicted")
            record = {k: ops.stack(v) for k, v in zip(names, zip(*record, strict=True), strict=True)}
        return search, record

    @property
    def _every(self):
        """Steps between two checks of progress."""
        return max(self.steps // 10, 1)

    def _to_tanh_space(self, start):
        """Return w and which pixels can move."""
        signed = 2.0 * start - 1.0
        if self.compat:
            # torchattacks has an infinite w where a pixel is exactly 0 or 1, and a zero gradient there.
            movable = ops.abs(signed) < 1.0
            w = ops.arctanh(ops.where(movable, signed, ops.zeros_like(signed)))
        else:
            movable = ops.ones_like(signed, dtype="bool")
            w = ops.arctanh(_SHRINK * signed)
        # Cast, since Keras on JAX gives float32 for float64 in tanh and its inverse.
        return ops.cast(w, start.dtype), movable

    def _begin(self, view, state, constants):
        x, y, start, _ = constants
        row = ops.zeros_like(x[:, 0, 0, 0])
        infinite = ops.full_like(row, math.inf)
        count = ops.zeros_like(row, dtype="int32")
        w, _ = self._to_tanh_space(start)
        passes, best_size, done = count, infinite, ops.zeros_like(row, dtype="bool")
        if not self.compat:
            # An image that is misclassified as it is needs no search.
            logits, state = mean_logits(view, x, state, self.eot_samples)
            done = self._succeeds(y, logits)
            best_size = ops.where(done, row, infinite)
            passes = count + self.eot_samples
        return _Search(
            w=w,
            mean=ops.zeros_like(w),
            square=ops.zeros_like(w),
            c=ops.full_like(row, self.c if self.compat else self.initial_c),
            lower=row,
            upper=ops.full_like(row, _NO_UPPER),
            found=ops.zeros_like(row, dtype="bool"),
            active=ops.ones_like(row, dtype="bool"),
            done=done,
            previous=infinite,
            best=x,
            best_size=best_size,
            queries=passes,
            state=state,
            seen=(row, row, row, count),
        )

    def _step(self, view, i, search, constants, early_stop):
        x, y, start, epsilon = constants
        t = i % self.steps
        if not self.compat:
            search = self._next_c(i, t, search, start)
        _, movable = self._to_tanh_space(start)
        tanh = ops.cast(ops.tanh(search.w), x.dtype)
        adv = ops.where(movable, 0.5 * (tanh + 1.0), start)
        f, logits, gradient, state = input_gradient(
            view, self._f, y, adv, search.state, self.eot_samples
        )
        sq_l2 = ops.sum(ops.square(adv - x), axis=(1, 2, 3))
        cost = sq_l2 + search.c * f

        # Recorded before Adam moves on, so the last update is never looked at.
        wrong = ops.logical_and(self._succeeds(y, logits), search.active)
        nearer = ops.logical_and(wrong, sq_l2 < search.best_size)
        best = select(nearer, adv, search.best)
        best_size = ops.where(nearer, sq_l2, search.best_size)
        found = ops.logical_or(search.found, wrong)

        slope = 2.0 * (adv - x) + norms.per_example(search.c, x) * gradient
        slope = ops.where(movable, slope * 0.5 * (1.0 - ops.square(tanh)), ops.zeros_like(slope))
        mean = _BETA1 * search.mean + (1.0 - _BETA1) * slope
        square = _BETA2 * search.square + (1.0 - _BETA2) * ops.square(slope)
        rate, correction = self._adam(t, x.dtype)
        w = search.w - rate * mean / (ops.sqrt(square) * correction + _ADAM_GUARD)

        checked = ops.broadcast_to(ops.equal(t % self._every, 0), ops.shape(cost))
        judged, share = cost, _PROGRESS
        if self.compat:
            judged, share = ops.broadcast_to(ops.sum(cost), ops.shape(cost)), 0.0
        stuck = judged > search.previous - share * _finite_size(search.previous)
        active = ops.logical_and(search.active, ops.logical_not(ops.logical_and(checked, stuck)))
        done = search.done
        if early_stop:
            near = ops.logical_and(ops.isfinite(best_size), ops.sqrt(best_size) <= epsilon)
            done = ops.logical_or(done, near)
            active = ops.logical_and(active, ops.logical_not(done))
        return search._replace(
            w=select(search.active, w, search.w),
            mean=mean,
            square=square,
            found=found,
            active=active,
            done=done,
            previous=ops.where(checked, judged, search.previous),
            best=best,
            best_size=best_size,
            queries=search.queries + self.eot_samples * ops.cast(search.active, "int32"),
            state=state,
            seen=(sq_l2, f, cost, ops.cast(ops.argmax(logits, axis=-1), "int32")),
        )

    def _next_c(self, i, t, search, start):
        """Before the first step with a new c: chooses it and starts anew."""
        fresh = ops.equal(t, 0)
        c, lower, upper = search.c, search.lower, search.upper
        tried = ops.logical_and(fresh, i > 0)
        upper = ops.where(ops.logical_and(tried, search.found), ops.minimum(upper, c), upper)
        failed = ops.logical_and(tried, ops.logical_not(search.found))
        lower = ops.where(failed, ops.maximum(lower, c), lower)
        halved = ops.where(upper < _HAS_UPPER, 0.5 * (lower + upper), 10.0 * c)
        if self.search_steps >= 10:  # The authors' code ends with a c that is known to succeed.
            last = ops.equal(i, (self.search_steps - 1) * self.steps)
            halved = ops.where(last, upper, halved)
        w, _ = self._to_tanh_space(start)
        nothing = ops.zeros_like(search.mean)
        return search._replace(
            w=ops.where(fresh, w, search.w),
            mean=ops.where(fresh, nothing, search.mean),
            square=ops.where(fresh, nothing, search.square),
            c=ops.where(tried, halved, c),
            lower=lower,
            upper=upper,
            found=ops.logical_and(search.found, ops.logical_not(fresh)),
            active=ops.where(fresh, ops.logical_not(search.done), search.active),
            previous=ops.where(fresh, ops.full_like(c, math.inf), search.previous),
        )

    def _finish(self, view, search, constants):
        x, y, _, epsilon = constants
        logits, _ = mean_logits(view, search.best, search.state, self.eot_samples)
        wrong = ops.logical_and(is_wrong(y, logits), ops.isfinite(search.best_size))
        size = norms.get("l2").size(search.best - x)
        success = ops.logical_and(wrong, size <= epsilon + TOLERANCE)
        infinite = ops.full_like(size, math.inf)
        value = ops.where(wrong, losses.margin(y, logits), -infinite)
        return select(success, search.best, x), success, value, ops.where(wrong, size, infinite)

    def _f(self, y, logits):
        """Compute the part of the cost that is positive until the example is misclassified."""
        if self.compat:
            own = ops.one_hot(ops.cast(y, "int32"), logits.shape[-1], dtype=logits.dtype)
            gap = ops.max(own * logits, axis=-1) - ops.max((1.0 - own) * logits, axis=-1)
        else:
            gap = -losses.margin(y, logits)
        return ops.where(gap >= -self.kappa, gap, ops.full_like(gap, -self.kappa))

    def _succeeds(self, y, logits):
        if self.kappa and not self.compat:
            own = ops.one_hot(ops.cast(y, "int32"), logits.shape[-1], dtype=logits.dtype)
            logits = logits + self.kappa * own
        return is_wrong(y, logits)

    def _adam(self, t, dtype):
        """Adam's two corrections of the bias at step t, computed in double precision."""
        number = np.arange(1, self.steps + 1, dtype="float64")
        rates = self.learning_rate / (1.0 - _BETA1**number)
        corrections = 1.0 / np.sqrt(1.0 - _BETA2**number)
        return (ops.take(ops.convert_to_tensor(v, dtype=dtype), t) for v in (rates, corrections))


def _finite_size(value):
    return ops.where(ops.isfinite(value), ops.abs(value), ops.zeros_like(value))
