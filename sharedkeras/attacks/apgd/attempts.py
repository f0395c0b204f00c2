"""APGD's runs, each on the examples that withstood the ones before."""

import functools

import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.attacks.apgd.ascent import LEAST_SAVED, Outcome
from sharedkeras.attacks.batching.sizes import least_saved
from sharedkeras.attacks.batching.stacking import owners, plan, stack
from sharedkeras.attacks.verdict import merge_runs


class Attempts:
    """Runs APGD from several starts or towards several targets, and keeps the best for each example.

    Args:
        climber: `Climber`.
        x: `(batch, H, W, C)` clean images.
        epsilon: `(batch,)` radii.
        steps: int, iterations of a run.
        made: int, after how many of them each run is cut off.
        max_rows: int, the most rows of a batch: runs of few examples are stacked up to it.
        early_stop: bool, whether examples leave a run once they are broken.
        record: dict that gets the trace, or None. With it every run covers all examples.
    """

    def __init__(self, climber, x, epsilon, steps, made, max_rows, early_stop, record):
        self.climber = climber
        self.x = x
        self.epsilon = epsilon
        self.steps = steps
        self.made = made
        self.early_stop = early_stop
        self.record = record
        # In a graph that is being traced no batch can shrink.
        self.shrinks = record is None and not backend.is_tracing((x, epsilon))
        self.size = len(x) if self.shrinks else None
        """The batch size of the latest run."""
        # A randomised network draws for a batch, from a state that passes from run to run.
        self.max_rows = None if climber.classifier.random else max_rows
        self.found = None
        """`Outcome`: for each example a success first, then the largest loss."""

    def run(self, runs, state):
        """Make runs, each on the examples that withstood the ones before.

        Args:
            runs: list of pairs for each run: a tuple of what the loss compares with, and a function
                without arguments that returns all examples' first iterates.
            state: the classifier's state.

        Returns:
            The classifier's state after the runs.
        """
        if not self.shrinks:
            for given, draw in runs:
                outcome, state = self._phases(self.x, given, self.epsilon, draw(), state)
                self._keep(outcome)
            return state
        while runs:
            rows = np.arange(len(self.x))
            if self.found is not None:
                rows = np.flatnonzero(~ops.convert_to_numpy(self.found.success))
            if len(rows) == 0:
                break
            least = least_saved(self.climber.classifier, LEAST_SAVED, 2)
            count, self.size = plan(len(rows), self.size, len(runs), self.made, self.max_rows, least)
            outcome, state = self._some(runs[:count], rows, state)
            self._keep(outcome)
            runs = runs[count:]
        return state

    def _some(self, runs, rows, state):
        """Make stacked runs on some rows of the examples."""
        values = ((self.x, given, self.epsilon, draw()) for given, draw in runs)
        whole = self.size == len(rows) == len(self.x)  # Then this is one run.
        values = next(values) if whole else stack(values, rows, self.size)
        own = owners(rows, len(runs), self.size)
        outcome, state = self._phases(*values, state, own if self.early_stop else None)
        parts = [
            _scatter(Outcome(*(t[at : at + len(rows)] for t in outcome)), rows, len(self.x))
            for at in range(0, len(rows) * len(runs), len(rows))
        ]
        return functools.reduce(merge_runs, parts), state

    def _keep(self, outcome):
        self.found = outcome if self.found is None else merge_runs(self.found, outcome)

    def _phases(self, x, given, epsilon, start, state, own=None):
        moves = self.climber.moves
        *before, (_, last) = moves.phases(self.steps)
        queries, left = 0, self.made
        for factor, steps in before:
            # Beyond the ball nothing counts as broken, so nothing leaves.
            radius, made = factor * epsilon, min(steps, left)
            first = moves.enter(x, start, radius)
            outcome, state = self.climber.run(
                x, given, radius, first, state, steps, made=made, record=self.record
            )
            start, queries, left = outcome.best, queries + outcome.queries, left - made
            if not left:
                end = moves.enter(x, start, epsilon)
                none = ops.zeros_like(outcome.success)
                return outcome._replace(output=end, success=none, best=end, queries=queries), state
        first = moves.enter(x, start, epsilon)
        outcome, state = self.climber.run(
            x, given, epsilon, first, state, last, made=left, own=own, record=self.record
        )
        return outcome._replace(queries=queries + outcome.queries), state


def _scatter(outcome, rows, size):
    """Put the rows of an outcome back where they came from; others count as not run."""
    blank = Outcome(0.0, False, 0.0, -np.inf, 0)
    full = []
    for value, empty in zip(outcome, blank, strict=True):
        value = ops.convert_to_numpy(value)
        whole = np.full((size, *value.shape[1:]), empty, dtype=value.dtype)
        whole[rows] = value
        full.append(whole)
    return Outcome(*full)
