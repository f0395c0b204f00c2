"""Batches that shrink when examples leave them."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.sizes import shrunken
from sharedkeras.attacks.batching.stacking import take


class Outcome(NamedTuple):
    """What a run found: per example, NumPy arrays or tensors."""

    output: Any
    fooled: Any
    best: Any
    best_loss: Any
    queries: Any


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
        """Store the outcome so far of every point that has not left."""
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
        """Drop the rows of broken examples where the rest fits a smaller batch.

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
        """Return what was kept, in the order of the full batch."""
        *values, passes = self.kept
        return Outcome(*values, passes * samples)
