"""The runs of FAB: on all examples, or on those left, stacked where few are left."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.shrinking import Shrinking
from sharedkeras.attacks.batching.sizes import least_saved
from sharedkeras.attacks.batching.stacking import owners, plan, stack
from sharedkeras.attacks.verdict import select

_LEAST_SAVED = 2500
"""Gradients of one example that a smaller batch must save to be worth compiling, on small networks."""
_LOOKS = (8, 25, 50)
"""Iterations after which examples broken within their balls are dropped."""


class Run(NamedTuple):
    """One run: `start()` gives its first iterates, `rivals` are the classes whose boundaries it sees."""

    start: Callable
    rivals: Any


class Walker:
    """Makes runs against one classifier.

    Args:
        classifier: `FrozenClassifier`.
        key: hashable, equal for equal functions.
        step: `step(view, i, carry, constants) -> carry`, with the carry (iterate, nearest misclassified
            point, its distance, state) and the constants (image, label, rivals).
        finish: `finish(view, carry, constants) -> (nearest, distance, margin)`, verified afresh.
        steps: int, iterations of a run.
        samples: int, draws of a randomised network for each gradient and each verdict.
    """

    def __init__(self, classifier, key, step, finish, steps, samples):
        self.classifier = classifier
        self.key = key
        self.step = step
        self.finish = finish
        self.steps = steps
        self.samples = samples

    def everywhere(self, x, y, runs, todo, best, trace):
        """Make every run on every example: as part of a graph, or to record how it went.

        Args:
            x: `(batch, H, W, C)` clean images.
            y: `(batch,)` labels.
            runs: list of `Run`.
            todo: `(batch,)` bool, the examples that count.
            best: nearest points, distances and margins so far.
            trace: bool, whether to record each iteration.

        Returns:
            `(best, queries, record)`: `record` holds the distance after each iteration of each run,
            `(runs, steps, batch)`, or after the last one only, `(runs, 1, batch)`.
        """
        queries = ops.zeros_like(y)
        record = []
        for run in runs:
            constants = x, y, run.rivals
            carry = run.start(), x, ops.full_like(best[1], math.inf), self.classifier.state
            history = []
            for begin in range(self.steps) if trace else (0,):
                end = begin + 1 if trace else self.steps
                carry = self._walk(carry, constants, begin, end)
                history.append(ops.where(todo, carry[2], math.inf))
            best = _nearer(todo, self._judged(carry, constants), best)
            queries = queries + self._passes(self.steps, run.rivals) * ops.cast(todo, queries.dtype)
            record.append(ops.stack(history))
        return best, queries, ops.stack(record)

    def where_needed(self, x, y, runs, todo, best, *, radii, max_rows):
        """Make the runs on the examples left, stacked where few are left.

        Args:
            x: `(batch, H, W, C)` clean images.
            y: `(batch,)` labels.
            runs: list of `Run`.
            todo: `(batch,)` bool, the examples to attack.
            best: nearest points, distances and margins so far.
            radii: `(batch,)`; an example with a success within its radius leaves. None: none leaves.
            max_rows: int, the most rows of a batch.

        Returns:
            `(best, queries)`.
        """
        todo = ops.convert_to_numpy(todo)
        radii = None if radii is None else ops.convert_to_numpy(radii)
        best = [np.array(ops.convert_to_numpy(t)) for t in best]
        queries = np.zeros(len(todo), "int32")
        size, least = len(todo), least_saved(self.classifier, _LEAST_SAVED, 2)
        if self.classifier.random:
            max_rows = None  # Its draws are those of a batch, from a state that passes from run to run.
        while runs:
            rows = np.flatnonzero(todo if radii is None else todo & ~(best[1] <= radii))
            if len(rows) == 0:
                break
            passes = self.steps * runs[0].rivals.shape[1]
            count, size = plan(len(rows), size, len(runs), passes, max_rows, least)
            *found, spent = self._some(x, y, runs[:count], rows, size, radii, least)
            for at in range(0, len(rows) * count, len(rows)):
                part = slice(at, at + len(rows))
                queries[rows] += spent[part]
                nearer = found[1][part] < best[1][rows]
                for old, new in zip(best, found, strict=True):
                    old[rows[nearer]] = new[part][nearer]
            runs = runs[count:]
        return tuple(map(ops.convert_to_tensor, best)), ops.convert_to_tensor(queries)

    def _some(self, x, y, runs, rows, size, radii, least):
        """Make stacked runs on some rows; return what was found and the passes, row by row."""
        own = owners(rows, len(runs), size)
        values = ((run.start(), x, y, run.rivals) for run in runs)
        whole = size == len(rows) == len(x)  # Then this is one run.
        start, x, y, rivals = next(values) if whole else stack(values, rows, size)
        infinite = ops.full((size,), math.inf, dtype=x.dtype)
        carry = start, x, infinite, self.classifier.state
        constants = given = x, y, rivals
        shrinking, at = Shrinking(own, least), 0
        for end in () if radii is None else (look for look in _LOOKS if look < self.steps):
            carry, at = self._walk(carry, constants, at, end), end
            *tensors, state = carry
            found = (*tensors[1:], np.int32(end))
            broken = ops.convert_to_numpy(carry[2]) <= radii[shrinking.own]
            to_go = (self.steps - end) * rivals.shape[1]
            cut = shrinking.shrink(broken, found, (tensors, constants), to_go)
            if cut is None:
                break
            tensors, constants = cut
            carry = *tensors, state
        else:
            carry = self._walk(carry, constants, at, self.steps)
            shrinking.finish((*carry[1:3], np.int32(self.steps)))
        nearest, smallest, iterations = shrinking.outcome
        nearest, smallest = ops.convert_to_tensor(nearest), ops.convert_to_tensor(smallest)
        found = self._judged((nearest, nearest, smallest, carry[3]), given)
        return *map(ops.convert_to_numpy, found), self._passes(iterations, rivals)

    def _walk(self, carry, constants, begin, end):
        return self.classifier.iterate(("fab", self.key), self.step, carry, constants, begin, end)

    def _judged(self, carry, constants):
        return self.classifier.apply(("fab-finish", self.key), self.finish, carry, constants)

    def _passes(self, iterations, rivals):
        return self.samples * (iterations * (rivals.shape[1] + 1) + 1)


def _nearer(todo, found, best):
    """Merge a run's images, distances and margins into the nearest so far."""
    take = ops.logical_and(todo, found[1] < best[1])
    return tuple(select(take, new, old) for new, old in zip(found, best, strict=True))
