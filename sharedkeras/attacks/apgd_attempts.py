"""APGD's runs one after the other, each on the examples that withstood the ones before."""

import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.attacks.apgd_ascent import LEAST_SAVED, Outcome, take
from sharedkeras.attacks.attack import select
from sharedkeras.attacks.few_sizes import shrunken


class Attempts:
    """Runs APGD from several starts or towards several targets, and keeps the best for each example.

    Args:
        climber: `Climber`.
        x: `(batch, H, W, C)` clean images.
        epsilon: `(batch,)` radii.
        steps: int, iterations of a run.
        runs: int, how many runs there will be.
        early_stop: bool, whether examples leave a run once they are broken.
        record: dict that gets the trace, or None. With it every run covers all examples.
    """

    def __init__(self, climber, x, epsilon, steps, runs, early_stop, record):
        self.climber = climber
        self.x = x
        self.epsilon = epsilon
        self.steps = steps
        self.runs_left = runs
        self.early_stop = early_stop
        self.record = record
        # In a graph that is being traced no batch can shrink.
        self.shrinks = record is None and not backend.is_tracing((x, epsilon))
        self.size = len(x) if self.shrinks else None
        """The batch size of the latest run."""
        self.found = None
        """`Outcome`: for each example a success first, then the largest loss."""

    def run(self, given, draw_start, state):
        """Adds a run.

        Args:
            given: tuple of what the loss compares with.
            draw_start: function without arguments that returns all examples' first iterates.
            state: the classifier's state.

        Returns:
            The classifier's state after the run.
        """
        rows = None
        if self.shrinks and self.found is not None:
            standing = ~ops.convert_to_numpy(self.found.fooled)
            rows = np.flatnonzero(standing)
            if len(rows) == 0:
                return state
        values = (self.x, given, self.epsilon, draw_start())
        live = np.ones(len(self.x), bool) if self.early_stop and self.shrinks else None
        if rows is not None and len(rows) < len(self.x):
            # What fills the batch up is broken already: its results are not looked at.
            to_go = self.steps * self.runs_left
            self.size = shrunken(len(rows), self.size, to_go, LEAST_SAVED)
            filling = np.flatnonzero(~standing)[: self.size - len(rows)]
            chosen = np.concatenate([rows, filling])
            values = take(self.climber.classifier, values, chosen)
            live = None if live is None else np.arange(len(chosen)) < len(rows)
        else:
            rows = None
        outcome, state = self._phases(*values, state, live)
        if rows is not None:
            outcome = _scatter(outcome, rows, len(self.x))
        self.found = outcome if self.found is None else _better(self.found, outcome)
        self.runs_left -= 1
        return state

    def _phases(self, x, given, epsilon, start, state, live):
        moves = self.climber.moves
        queries = 0
        *before, (_, last) = moves.phases(self.steps)
        for factor, steps in before:
            # Beyond the ball nothing counts as broken, so nothing leaves.
            radius = factor * epsilon
            first = moves.enter(x, start, radius)
            outcome, state = self.climber.run(x, given, radius, first, state, steps, record=self.record)
            start, queries = outcome.best, queries + outcome.queries
        first = moves.enter(x, start, epsilon)
        outcome, state = self.climber.run(
            x, given, epsilon, first, state, last, live=live, record=self.record
        )
        return outcome._replace(queries=queries + outcome.queries), state


def _scatter(outcome, rows, size):
    """Puts the first rows of an outcome back where they came from; others count as not run."""
    blank = Outcome(0.0, False, 0.0, -np.inf, 0)
    full = []
    for value, empty in zip(outcome, blank, strict=True):
        value = ops.convert_to_numpy(value)
        whole = np.full((size, *value.shape[1:]), empty, dtype=value.dtype)
        whole[rows] = value[: len(rows)]
        full.append(whole)
    return Outcome(*full)


def _better(a, b):
    take_b = ops.logical_and(
        ops.logical_not(a.fooled), ops.logical_or(b.fooled, b.best_loss > a.best_loss)
    )
    return Outcome(
        select(take_b, b.output, a.output),
        ops.logical_or(a.fooled, b.fooled),
        select(take_b, b.best, a.best),
        ops.maximum(a.best_loss, b.best_loss),
        ops.add(a.queries, b.queries),
    )
