"""Many box-constrained problems solved by SciPy's L-BFGS-B side by side, evaluated as one batch."""

import queue
import threading

import numpy as np
from scipy import optimize

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.attacks.batching.sizes import bucket


class _Abandoned(Exception):
    """Ends a solver whose evaluation has failed."""


def minimise(evaluate, starts, low, high, *, steps, history):
    """Minimise one function for each row, every round of evaluations being one call.

    SciPy's solver calls its function one point at a time, and a network is slow on one image at a
    time. Here each row has a solver in a thread of its own, which hands its point over and waits; once
    every solver that is still at work waits, all their points are evaluated together. No solver sees
    another one's numbers, so the result is that of solving each row alone, up to the rounding of
    `evaluate` for other batch shapes.

    A solver ends after `steps` iterations, at a stationary point, or where no step lowers the function
    any more. An iteration takes one evaluation, or a few where its line search has to go back.

    Args:
        evaluate: `evaluate(rows, points) -> (values, gradients)`: `(k,)` row numbers and `(k, ...)`
            float64 points to `(k,)` and `(k, ...)` arrays. A row may be there twice, to fill a batch.
        starts: `(n, ...)` array, the first points.
        low: array of the same shape, lower bounds.
        high: array of the same shape, upper bounds.
        steps: int, at least 1, iterations of each solver.
        history: int, at least 1, pairs of steps and gradient changes that a solver remembers.

    Returns:
        `(points, values, counts)`: `(n, ...)` float64 solutions within the bounds; `(steps, n)` values
        after each iteration, a solver that has ended repeating its last; `(n,)` int32 evaluations.

    Reference: C. Zhu, R. Byrd, P. Lu, J. Nocedal, "Algorithm 778: L-BFGS-B", 1997.
    """
    starts = np.asarray(starts)
    inbox = queue.SimpleQueue()
    options = {"maxiter": steps, "maxcor": history, "ftol": 0.0, "gtol": 0.0}
    solvers = [
        _Solver(row, inbox, start, (low[row], high[row]), options) for row, start in enumerate(starts)
    ]
    counts = np.zeros(len(starts), "int32")
    live = set(range(len(starts)))
    try:
        for solver in solvers:
            solver.start()
        while live:
            waiting = _collect(inbox, live)
            if waiting:
                rows = np.array(sorted(waiting))
                _answer(evaluate, solvers, rows, waiting, len(starts))
                counts[rows] += 1
    finally:
        for row in live:
            solvers[row].answers.put(None)
        for solver in solvers:
            if solver.ident is not None:
                solver.join()
    for solver in solvers:
        if solver.error is not None:
            raise solver.error
    points = np.stack([np.clip(s.point, low[s.row], high[s.row]) for s in solvers])
    return points, np.stack([s.values(steps) for s in solvers], axis=1), counts


class _Solver(threading.Thread):
    """One solver: posts `(row, point)` and waits for the answer; posts `(row, None)` at its end."""

    def __init__(self, row, inbox, start, box, options):
        super().__init__(daemon=True)
        self.row, self.inbox, self.box, self.options = row, inbox, box, options
        self.answers = queue.SimpleQueue()
        self.point = np.asarray(start, "float64")
        self.shape = self.point.shape
        self.first, self.after, self.error = None, [], None

    def run(self):
        try:
            result = optimize.minimize(
                self._ask,
                self.point.ravel(),
                jac=True,
                method="L-BFGS-B",
                bounds=optimize.Bounds(*(np.asarray(b, "float64").ravel() for b in self.box)),
                options=self.options,
                callback=self._keep,
            )
            self.point = result.x.reshape(self.shape)
        except _Abandoned:
            pass
        except BaseException as error:  # raised again by the thread that waits
            self.error = error
        self.inbox.put((self.row, None))

    def values(self, steps):
        after = self.after or [self.first]
        return np.array((after + after[-1:] * steps)[:steps])

    def _ask(self, point):
        self.inbox.put((self.row, point.reshape(self.shape)))
        answer = self.answers.get()
        if answer is None:
            raise _Abandoned
        value, gradient = answer
        if self.first is None:
            self.first = value
        return value, gradient

    def _keep(self, intermediate_result):
        self.after.append(float(intermediate_result.fun))


def _collect(inbox, live):
    """Wait until every live solver has posted; takes those that ended out of `live`."""
    waiting, ended = {}, []
    for _ in range(len(live)):
        row, point = inbox.get()
        if point is None:
            ended.append(row)
        else:
            waiting[row] = point.copy()
    live.difference_update(ended)
    return waiting


def _answer(evaluate, solvers, rows, waiting, full):
    padded = pad(rows, bucket(len(rows), full))
    values, gradients = evaluate(padded, np.stack([waiting[row] for row in padded]))
    values = np.asarray(values, "float64")
    gradients = np.asarray(gradients, "float64")
    for i, row in enumerate(rows):
        solvers[row].answers.put((float(values[i]), gradients[i].ravel()))
