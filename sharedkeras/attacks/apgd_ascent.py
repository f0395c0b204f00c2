"""The loop of APGD: one run from one start, with or without dropping the points it has broken."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.attack import input_gradient, is_wrong, mean_logits, select
from sharedkeras.attacks.few_sizes import least_saved, shrunken
from sharedkeras.attacks.side_by_side import take

LEAST_SAVED = 2500
"""Gradients of one example that a smaller batch must save to be worth compiling, on small networks."""
_EARLY_LOOKS = (3, 8)
"""Iterations of the first window after which broken points are dropped: most break at once."""


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


class Outcome(NamedTuple):
    """What a run found: per example, NumPy arrays or tensors."""

    output: Any
    fooled: Any
    best: Any
    best_loss: Any
    queries: Any


def logits_of(classifier, x, state, samples):
    """Computes the logits, averaged over draws of a randomised network.

    Returns:
        `(logits, state)`.
    """
    if samples == 1 and not classifier.random:
        return classifier.predict(x), state  # The graph that every evaluation has compiled already.

    def mean(view, x, state):
        return mean_logits(view, x, state, samples)

    return classifier.apply(("mean logits", samples), mean, x, state)


class Climber:
    """Runs APGD's ascent of one loss against one classifier.

    Args:
        classifier: `FrozenClassifier`.
        moves: `MomentumMoves` or `SparseMoves`.
        name: hashable, equal for equal losses.
        score: `score(*given, logits) -> (batch,)`.
        labelled: bool, whether `given[0]` are labels, so that success can be told.
        samples: int, draws of a randomised network for each gradient.
        rho: float, the share of a window's iterations that must raise the loss.
        visit: what `APGD.run` is given, or None.
    """

    def __init__(self, classifier, moves, name, score, labelled, samples, rho, visit=None):
        self.classifier = classifier
        self.moves = moves
        self.key = ("apgd", moves, name, labelled, samples)
        self.score = lambda given, logits: score(*given, logits)
        self.labelled = labelled
        self.samples = samples
        self.rho = rho
        self.visit = visit

    def run(self, x, given, epsilon, start, state, steps, *, own=None, record=None):
        """Climbs from a start.

        Args:
            x: `(batch, H, W, C)` clean images.
            given: tuple of nested structures, what the loss compares with.
            epsilon: `(batch,)` radii.
            start: `(batch, H, W, C)` first iterates.
            state: the classifier's state.
            steps: int.
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
        shrinking = _Shrinking(own, least) if own is not None else None
        ends = [end for end in self.moves.checkpoints(steps) if end < steps]
        stops = {*ends, steps - 1}
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
                spent, state = end + 1, ascent.state
                ascent, constants = shrinking.shrink(ascent, constants, spent, steps - end)
                if ascent is None:
                    return shrinking.outcome(self.samples), state
                x, _, epsilon = constants
        ascent = self._finish(ascent, constants, steps - 1, record)
        if shrinking:
            shrinking.keep(ascent, steps + 1)
            return shrinking.outcome(self.samples), ascent.state
        queries = ops.full((ops.shape(x)[0],), self.samples * (steps + 1), dtype="int32")
        outcome = Outcome(ascent.output, ascent.fooled, ascent.best, ascent.best_loss, queries)
        return outcome, ascent.state

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
        wrong = is_wrong(constants[1][0], logits) if self.labelled else ops.zeros_like(ascent.fooled)
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


class _Shrinking:
    """Keeps the outcomes of the rows that have left a run, and the numbers of those still in it."""

    def __init__(self, own, least_saved):
        self.least_saved = least_saved
        self.size = len(own)
        self.rows = np.arange(self.size)
        self.own = np.array(own)
        self.kept = None

    @property
    def live(self):
        return self.own >= 0

    def keep(self, ascent, passes):
        """Stores the outcome so far of every point that has not left."""
        values = (ascent.output, ascent.fooled, ascent.best, ascent.best_loss)
        values = [ops.convert_to_numpy(v) for v in values]
        self._store(self.live, values, passes)

    def _store(self, mask, values, passes):
        if self.kept is None:
            shapes = [(self.size, *v.shape[1:]) for v in values]
            self.kept = [np.zeros(s, v.dtype) for s, v in zip(shapes, values, strict=True)]
            self.kept.append(np.zeros(self.size, "int32"))
        rows = self.rows[mask]
        for kept, value in zip(self.kept, values, strict=False):
            kept[rows] = value[mask]
        self.kept[-1][rows] = passes

    def shrink(self, ascent, constants, passes, steps):
        """Drops the rows of broken examples where the rest fits a smaller batch.

        Args:
            ascent: `Ascent`.
            constants: nested structure of tensors that shrinks with it.
            passes: int, forward passes so far.
            steps: int, iterations to go.

        Returns:
            `(ascent, constants)`, or `(None, None)` when no point is left.
        """
        fooled = ops.convert_to_numpy(ascent.fooled)
        broken = self.live & np.isin(self.own, self.own[self.live & fooled])
        going = np.flatnonzero(self.live & ~broken)
        size = shrunken(len(going), len(self.rows), steps, self.least_saved)
        if len(going) and size == len(self.rows):
            return ascent, constants
        values = (ascent.output, ascent.fooled, ascent.best, ascent.best_loss)
        values = [ops.convert_to_numpy(v) for v in values]
        self._store(broken, values, passes)
        if not len(going):
            return None, None
        # What fills the batch up is done with: its results are not looked at again.
        filling = np.setdiff1d(np.arange(len(self.rows)), going)[: size - len(going)]
        chosen = np.concatenate([going, filling])
        state = ascent.state
        ascent, constants = take((ascent._replace(state=()), constants), chosen)
        self.rows = self.rows[chosen]
        self.own = np.where(np.arange(size) < len(going), self.own[chosen], -1)
        return ascent._replace(state=state), constants

    def outcome(self, samples):
        """Returns what was kept, in the order of the full batch."""
        *values, passes = self.kept
        return Outcome(*values, passes * samples)
