"""Carlini and Wagner's search for the nearest misclassified image."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
from keras import ops

from sharedkeras import backend, losses
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.carlini_wagner import descent
from sharedkeras.attacks.carlini_wagner.bisection import Bisection
from sharedkeras.attacks.carlini_wagner.torchattacks import Torchattacks
from sharedkeras.attacks.verdict import inside, is_wrong, select
from sharedkeras.math import norms
from sharedkeras.math.projections import clip_to_image
from sharedkeras.models.classifiers.gradients import mean_logits

_RULES = {None: Bisection, "torchattacks": Torchattacks}


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

    `adversarial` is the nearest success, the clean image without one or where it is farther than
    `epsilon`; `distance` is its L2 distance even beyond `epsilon`; `best_loss` is minus f there, or
    minus infinity. Nothing is drawn. `early_stop` leaves an example alone at its first success within
    `epsilon`, when only the verdict matters. A `start` takes the clean image's place. `trace` holds
    "sq_l2", "f", "cost" and "predicted" at each forward pass, `(passes, batch)`; passes that no example
    needed are left out.

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

    role: ClassVar[str] = "nearest"
    replaceable_loss: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    seeks_nearest: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        need_one_of(("l2",), norm=self.norm)
        need_one_of(tuple(_RULES), compat=self.compat)
        need_positive(c=self.c, learning_rate=self.learning_rate, initial_c=self.initial_c)
        need_count(steps=self.steps, search_steps=self.search_steps, eot_samples=self.eot_samples)
        if self.epsilon is not None:
            need_positive(epsilon=self.epsilon)
        if self.kappa != 0:
            need_positive(kappa=self.kappa)

    @property
    def gradients(self):
        """The most input gradients that the attack takes of an example, and as many in a graph."""
        return self.steps * _RULES[self.compat](self).values_of_c * self.eot_samples

    @property
    def checked_every(self):
        """Steps between two checks of progress."""
        return max(self.steps // 10, 1)

    def craft(self, task):
        """Descend for each value of c, and verify the nearest success."""
        classifier, x = task.classifier, task.x
        rules = _RULES[self.compat](self)
        start = x if task.start is None else clip_to_image(task.start)
        name = (self, task.early_stop)
        constants = (x, task.y, start, task.epsilon)

        def begin(view, state, constants):
            return descent.begin(rules, view, state, constants)

        def step(view, i, search, constants):
            return descent.step(rules, view, i, search, constants, task.early_stop)

        search = classifier.apply(("begin", *name), begin, classifier.state, constants)
        search, record = self._search(rules, classifier, name, step, search, constants, task.trace)
        adv, success, best_loss, distance = classifier.apply(
            ("finish", *name), self._finish, search, constants
        )
        queries = search.queries + self.eot_samples
        return AttackResult(adv, success, best_loss, distance, queries, record)

    def _search(self, rules, classifier, name, step, search, constants, trace):
        """Run the steps for every c, and skip those that no example needs any more."""
        total = self.steps * rules.values_of_c
        if backend.is_tracing((search, constants)):
            return classifier.iterate(name, step, search, constants, 0, total), None
        record = [] if trace else None
        piece = 1 if trace else self.checked_every
        at = 0
        while at < total:
            ahead = min(at + piece, total, (at // self.steps + 1) * self.steps)
            search = classifier.iterate(name, step, search, constants, at, ahead)
            at = ahead
            if trace:
                record.append(search.seen)
            if not np.any(ops.convert_to_numpy(search.active)):
                at = -(-at // self.steps) * self.steps  # to the next value of c
            if rules.all_done(ops.convert_to_numpy(search.done)):
                break
        if trace:
            names = ("sq_l2", "f", "cost", "predicted")
            record = {k: ops.stack(v) for k, v in zip(names, zip(*record, strict=True), strict=True)}
        return search, record

    def _finish(self, view, search, constants):
        x, y, _, epsilon = constants
        logits, _ = mean_logits(view, search.best, search.state, self.eot_samples)
        wrong = ops.logical_and(is_wrong(y, logits), ops.isfinite(search.best_size))
        near, size = inside(norms.get(self.norm), x, search.best, epsilon)
        success = ops.logical_and(wrong, near)
        infinite = ops.full_like(size, math.inf)
        value = ops.where(wrong, losses.margin(y, logits), -infinite)
        return select(success, search.best, x), success, value, ops.where(wrong, size, infinite)
