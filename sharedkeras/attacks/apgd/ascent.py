"""The loop of APGD: one run from one start, with or without dropping the points it has broken."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.shrinking import Shrinking
from sharedkeras.attacks.batching.sizes import least_saved
from sharedkeras.attacks.verdict import is_wrong, select
from sharedkeras.models.classifiers.gradients import input_gradient, logits_of

LEAST_SAVED = 2500
"""Gradients of one example that a smaller batch must save to be worth compiling, on small networks."""
_EARLY_LOOKS = (3, 8)
"""Iterations of the first window after which broken points are dropped: most break at once."""


class Outcome(NamedTuple):
    """What a run found: per example, NumPy arrays or tensors."""

    output: Any  # The latest misclassified iterate.
    success: Any
    best: Any  # The iterate of the largest loss.
    best_loss: Any
    queries: Any


class Ascent(NamedTuple):
    """The state of a run; all but `state` is per example."""

    adv: Any
    gradient: Any
    best: Any
    best_gradient: Any
    best_loss: Any
    output: Any  # The latest misclassified iterate.
    fooled: Any
    memory: Any  # What the moves remember.
    state: Any  # The classifier's.

    def outcome(self, queries):
        """Return what the run has found so far."""
        return Outcome(self.output, self.fooled, self.best, self.best_loss, queries)


class Climber:
    """Runs APGD's ascent of one loss against one classifier.

    Args:
        classifier: `FrozenClassifier`.
        moves: `MomentumMoves` or `SparseMoves`.
        name: hashable, equal for equal losses.
        score: `score(*given, logits) -> (batch,)`; where `given[0]` are labels, success can be told.
        samples: int, draws of a randomised network for each gradient.
        rho: float, the share of a window's iterations that must raise the loss.
        visit: what `run` was given, or None.
    """

    def __init__(self, classifier, moves, name, score, samples, rho, visit=None):
        self.classifier = classifier
        self.moves = moves
        self.key = ("apgd", moves, name, samples)
        self.score = lambda given, logits: score(*given, logits)
        self.samples = samples
        self.rho = rho
        self.visit = visit

    def run(self, x, given, epsilon, start, state, steps, *, made=None, own=None, record=None):
        """Climb from a start.

        Args:
            x: `(batch, H, W, C)` clean images.
            given: tuple of nested structures, what the loss compares with.
            epsilon: `(batch,)` radii.
            start: `(batch, H, W, C)` first iterates.
            state: the classifier's state.
            steps: int, for which the checkpoints are set.
            made: int, after how many of them the run is cut off; None makes them all.
            own: `(batch,)` NumPy ints, the example that each row belongs to, -1 for none: the run drops
                all rows of an example once one is broken, and ends when none is left. None: every row
                runs to the end.
            record: dict of lists that gets losses and step sizes, or None.

        Returns:
            `(Outcome, state)`; where `own` is given only rows of an example mean anything.
        """
        constants = (x, given, epsilon)
        ascent = self._begin(x, epsilon, start, state)
        least = least_saved(self.classifier, LEAST_SAVED, 2)
        shrinking = Shrinking(own, least) if own is not None else None
        made = steps if made is None else made
        ends = [end for end in self.moves.checkpoints(steps) if end < made]
        stops = {*ends, made - 1}
        if shrinking:
            stops |= {look for look in _EARLY_LOOKS if look < min(stops, default=0)}
        begin, window = -1, 0  # Iteration -1 only evaluates the start.
        for end in sorted(stops):
            ascent = self._iterate(ascent, constants, begin, end, record)
            begin = end
            if end in ends:
                limit = ops.convert_to_tensor(self.rho * (end - window), dtype=x.dtype)
                ascent = self.classifier.apply(
                    ("look back", self.key), self._look_back, ascent, limit, x, epsilon
                )
                window = end
                if self.visit is not None:
                    going = ~ops.convert_to_numpy(ascent.fooled)
                    going = going & shrinking.live if shrinking else going
                    self.visit(end, ascent.adv, constants[1][0], going)
            if shrinking:
                state = ascent.state
                found = ascent.outcome(np.int32(self.samples * (end + 1)))
                tensors = (ascent._replace(state=()), constants)
                tensors = shrinking.shrink(ascent.fooled, found, tensors, made - end)
                if tensors is None:
                    return Outcome(*shrinking.outcome), state
                ascent, constants = tensors
                ascent = ascent._replace(state=state)
                x, _, epsilon = constants
        ascent = self._finish(ascent, constants, made - 1, record)
        spent = self.samples * (made + 1)
        if shrinking:
            return Outcome(*shrinking.finish(ascent.outcome(np.int32(spent)))), ascent.state
        return ascent.outcome(ops.full((ops.shape(x)[0],), spent, dtype="int32")), ascent.state

    def _begin(self, x, epsilon, start, state):
        zero = ops.zeros_like(x)
        return Ascent(
            adv=start,
            gradient=zero,
            best=start,
            best_gradient=zero,
            best_loss=ops.full_like(epsilon, -np.inf),
            output=start,
            fooled=ops.zeros_like(epsilon, dtype="bool"),
            memory=self.moves.begin(start, x, epsilon),
            state=state,
        )

    def _iterate(self, ascent, constants, begin, end, record):
        if record is None:
            return self.classifier.iterate(self.key, self._step, ascent, constants, begin, end)
        for i in range(begin, end):
            step_size = ascent.memory.step_size
            ascent = self.classifier.iterate(self.key, self._step, ascent, constants, i, i + 1)
            self._write(record, i, step_size, ascent)
        return ascent

    def _finish(self, ascent, constants, i, record):
        # The gradient at the last iterate would go unused, so its pass is forward only.
        step_size = ascent.memory.step_size
        number = ops.convert_to_tensor(i, dtype="int32")
        adv = self.classifier.apply(("move", self.key), self._move, number, ascent, constants)
        logits, state = logits_of(self.classifier, adv, ascent.state, self.samples)

        def book(_, i, ascent, constants, adv, logits):
            value = self.score(constants[1], logits)
            return self._book(i, ascent, constants, adv, value, logits, ascent.gradient, ascent.state)

        ascent = self.classifier.apply(("book", self.key), book, number, ascent, constants, adv, logits)
        ascent = ascent._replace(state=state)
        if record is not None:
            self._write(record, i, step_size, ascent)
        return ascent

    def _write(self, record, i, step_size, ascent):
        if i < 0:
            record.setdefault("loss_start", ascent.best_loss)
        else:
            record.setdefault("loss", []).append(ascent.memory.previous)
            record.setdefault("step_size", []).append(step_size)

    def _move(self, _, i, ascent, constants):
        x, _, epsilon = constants
        return self.moves.move(i, ascent.adv, ascent.gradient, ascent.memory, x, epsilon)

    def _step(self, view, i, ascent, constants):
        adv = ops.where(i < 0, ascent.adv, self._move(view, i, ascent, constants))
        value, logits, gradient, state = input_gradient(
            view, self.score, constants[1], adv, ascent.state, self.samples
        )
        return self._book(i, ascent, constants, adv, value, logits, gradient, state)

    def _book(self, i, ascent, constants, adv, value, logits, gradient, state):
        value = ops.cast(value, adv.dtype)
        wrong = is_wrong(constants[1][0], logits)
        better = value > ascent.best_loss
        return Ascent(
            adv=adv,
            gradient=gradient,
            best=select(better, adv, ascent.best),
            best_gradient=select(better, gradient, ascent.best_gradient),
            best_loss=ops.where(better, value, ascent.best_loss),
            output=select(wrong, adv, ascent.output),
            fooled=ops.logical_or(ascent.fooled, wrong),
            memory=self.moves.observe(i, ascent.memory, ascent.adv, value),
            state=state,
        )

    def _look_back(self, _, ascent, limit, x, epsilon):
        return self.moves.look_back(ascent, limit, x, epsilon)
