"""Auto-PGD, the attack whose step size finds itself."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.apgd.ascent import Climber
from sharedkeras.attacks.apgd.attempts import Attempts
from sharedkeras.attacks.apgd.momentum import MomentumMoves
from sharedkeras.attacks.apgd.sparse import SparseMoves
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.verdict import is_label, is_wrong, select, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.models.classifiers.gradients import logits_of

GLANCE = 5
"""Iterations of `stop_after` with which an estimate looks who is near to which class."""
_LOSSES = ("ce", "dlr", "dlr-targeted", "margin")
_MOVES = {"linf": MomentumMoves("linf"), "l2": MomentumMoves("l2"), "l1": SparseMoves()}


def _margin_targeted(y, target, logits):
    picked = [
        ops.take_along_axis(logits, ops.cast(k, "int32")[:, None], axis=-1)[:, 0] for k in (target, y)
    ]
    return picked[0] - picked[1]


_TARGETED = {"dlr-targeted": losses.dlr_targeted, "margin-targeted": _margin_targeted}


def effective_loss(attack, num_classes):
    """Name the loss that an attack climbs on a network of so many classes.

    DLR needs three classes and its targeted form four; below, the difference of logits without a
    denominator stands in.

    Args:
        attack: `APGD`.
        num_classes: int.

    Returns:
        "ce", "dlr", "dlr-targeted", "margin", "margin-targeted", or the attack's own callable.
    """
    return _fitting(attack.loss, num_classes)


def _fitting(loss, num_classes):
    if loss == "dlr-targeted" and num_classes < 4:
        return "margin-targeted"
    if loss == "dlr" and num_classes < 3:
        return "margin"
    return loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Projected ascent with momentum, whose step halves itself where it does not pay.

    It needs no step size: the first is twice the radius, and at checkpoints that grow closer an example
    that oscillates or is stuck halves its own and returns to its best iterate. This is the official
    AutoAttack's variant to the letter, for its numbers are what is published: `at most` a share `rho` of
    raising iterations halves, the momentum survives a return to the best iterate, the first iteration's
    loss is compared with 0, and the latest misclassified iterate is returned, not the one of the largest
    loss.

    The loss "dlr-targeted" runs once towards each of the classes ranked 2 to `targets` + 1 by the clean
    logits; any misclassification is a success, and each run sees only the examples that withstood the
    ones before. Restarts nest inside ranks.

    In L1 the moves are those of `SparseMoves`: sparse, without momentum, in three shrinking balls.

    `adversarial` is the latest misclassified iterate, or without one the iterate of the largest loss;
    `queries` leaves out the pass that judges it. With a `start` there are no restarts. `trace` holds the
    "loss" after each iteration and the "step_size" used in it, `(steps, batch)`, and "loss_start",
    `(batch,)`; then every run covers all examples, and the records of several runs follow one another.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        steps: int, at least 1.
        loss: "ce", "dlr", "dlr-targeted", "margin", or `loss(y, logits) -> (batch,)`. With fewer than 4
            classes targeted DLR, with fewer than 3 DLR is replaced by the difference of logits.
        restarts: int, at least 1, random starts; each sees only the examples still unbroken.
        targets: int, at least 1, target classes of "dlr-targeted"; at most the number of wrong classes
            are used.
        skip: int in [0, targets), how many of the first target classes of "dlr-targeted" are left out,
            because another attack has tried them; at least one is tried.
        stop_after: int in [1, steps], the iterations after which each run is cut off; what it breaks
            until then, the whole run with the same draws breaks too. In the larger balls of L1 it breaks
            nothing. None makes all `steps`.
        rho: float in (0, 1), the share of a window's iterations that must raise the loss.
        eot_samples: int, draws of a randomised network for each gradient; loss and logits are averaged
            over the same draws. (The official code takes both from the last draw.)

    Raises:
        ValueError: if a value is out of range.

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    steps: int = 100
    loss: str | Callable = "ce"
    restarts: int = 1
    targets: int = 9
    skip: int = 0
    stop_after: int | None = None
    rho: float = 0.75
    eot_samples: int = 1

    role: ClassVar[str] = "adaptive"
    ends_at_iterate: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        if not callable(self.loss):
            need_one_of(_LOSSES, loss=self.loss)
        need_positive(epsilon=self.epsilon, rho=self.rho)
        if self.rho >= 1:
            raise ValueError(f"`rho` must be below 1. Received: rho={self.rho}")
        need_count(
            steps=self.steps,
            restarts=self.restarts,
            targets=self.targets,
            eot_samples=self.eot_samples,
        )
        if not (isinstance(self.skip, int) and 0 <= self.skip < self.targets):
            raise ValueError(
                f"`skip` must be an int from 0 to below `targets`, {self.targets}. "
                f"Received: skip={self.skip!r}"
            )
        if self.stop_after is not None:
            need_count(stop_after=self.stop_after)
            if self.stop_after > self.steps:
                raise ValueError(
                    f"`stop_after` must be at most `steps`, {self.steps}. "
                    f"Received: stop_after={self.stop_after}"
                )

    def most_queries(self, num_classes):
        """Return the gradients of all runs of an example that withstands them."""
        targets = len(self._ranks(num_classes - 1)) if self.loss == "dlr-targeted" else 1
        phases, begun = 0, 0
        for _, steps in _MOVES[self.norm].phases(self.steps):
            phases += begun < self._made
            begun += steps
        return targets * self.restarts * self.eot_samples * (self._made + phases)

    def implied_by(self):
        """Return the same attack with fewer targets, and all of these after a glance.

        Their runs are among this attack's, or the beginnings of these.
        """
        changes = []
        if self.loss == "dlr-targeted":
            changes += [{"targets": count} for count in range(self.skip + 1, self.targets)]
            changes += [{"skip": count} for count in range(self.skip + 1, self.targets)]
        if self._made > GLANCE:
            changes += [change | {"stop_after": GLANCE} for change in ({}, *changes)]
        return tuple(dataclasses.replace(self, **change) for change in changes)

    def divisions(self):
        """Return the pairs of attacks on the first and on the other targets."""
        if self.loss != "dlr-targeted":
            return ()
        counts = range(self.skip + 1, self.targets)
        return tuple(
            (dataclasses.replace(self, targets=count), dataclasses.replace(self, skip=count))
            for count in counts
        )

    @property
    def _made(self):
        """The iterations of a run."""
        return self.steps if self.stop_after is None else self.stop_after

    def _ranks(self, wrong):
        """Return which of the wrong classes are targets, counted from the likeliest."""
        count = min(self.targets, wrong)
        return range(min(self.skip, count - 1), count)

    def craft(self, task):
        """Climb from each start and towards each target, and judge what is kept of it."""
        x, y, labelled = task.x, task.y, is_label(task.y)
        score, name, targets, passes, state = self._score(task)
        moves = _MOVES[self.norm]
        climber = Climber(task.classifier, moves, name, score, self.eot_samples, self.rho, task.visit)
        record = {} if task.trace else None
        early_stop = task.early_stop and labelled
        length = self.steps, self._made
        attempts = Attempts(climber, x, task.epsilon, *length, task.max_rows, early_stop, record)
        key = random.key(task.seed, f"apgd-{'custom' if callable(self.loss) else self.loss}")
        runs = []
        for rank in (0,) if targets is None else self._ranks(targets.shape[1]):
            given = (y,) if targets is None else (y, targets[:, rank])
            for restart in range(self.restarts if task.start is None else 1):
                runs.append((given, functools.partial(self._start, task, key, (rank, restart))))
        state = attempts.run(runs, state)
        found = attempts.found
        adv = select(found.success, found.output, found.best)
        logits, _ = logits_of(task.classifier, adv, state, self.eot_samples)
        norm = norms.get(self.norm)
        wrong = is_wrong(y, logits)
        if self._made <= sum(steps for _, steps in moves.phases(self.steps)[:-1]):
            # The whole run goes on from beyond the ball, and need not find what lies within on the way.
            wrong = ops.zeros_like(wrong)
        success, distance = success_and_distance(norm, x, adv, wrong, task.epsilon)
        queries = found.queries + passes
        return AttackResult(adv, success, found.best_loss, distance, queries, _stacked(record))

    def _score(self, task):
        """Return the loss as a function and by name, targets, passes spent, and the state after."""
        classifier = task.classifier
        state, name = classifier.state, self.loss if task.loss is None else task.loss
        if name not in ("dlr", "dlr-targeted"):
            return losses.get(name), name, None, 0, state
        classes = classifier.num_classes
        if name == "dlr" and classes is not None:
            name = _fitting(name, classes)
            return losses.get(name), name, None, 0, state
        logits, state = logits_of(classifier, task.x, state, self.eot_samples)
        classes = logits.shape[-1]
        name = _fitting(name, classes)
        if name not in _TARGETED:
            return losses.get(name), name, None, self.eot_samples, state
        targets = ops.top_k(logits, min(self.targets, classes - 1) + 1)[1][:, 1:]
        return _TARGETED[name], name, targets, self.eot_samples, state

    def _start(self, task, key, path):
        if task.start is not None:
            return task.start
        moves = _MOVES[self.norm]

        def draw(_, x, key, rank, restart, index, epsilon):
            return moves.random_start(random.key(key, rank, restart), x, index, epsilon)

        path = (ops.convert_to_tensor(k, dtype="int32") for k in path)
        given = (task.x, key, *path, task.index, task.epsilon)
        return task.classifier.apply(("apgd start", moves), draw, *given)


def _stacked(record):
    if record is None:
        return None
    return {k: v if k == "loss_start" else ops.stack(v) for k, v in record.items()}
