"""Batches that shrink when examples leave them."""

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.sizes import shrunken
from sharedkeras.attacks.batching.stacking import take


class Shrinking:
    """Cuts a run's batch when examples are done with, and keeps what was found for them.

    An example may have several rows, which leave together. Rows that fill a batch up belong to no
    example, and what is found for them is not kept.

    Attributes:
        own: `(rows,)` NumPy ints, the example of each row of the present batch, -1 for filling.
        size: int, rows of the full batch.

    Args:
        own: `(size,)` ints, the same of the full batch.
        least_saved: int, passes that must be saved to be worth compiling a new size.
    """

    def __init__(self, own, least_saved):
        self.own = np.array(own)
        self.size = len(self.own)
        self._least_saved = least_saved
        self._rows = np.arange(self.size)  # The numbers that the present rows have in the full batch.
        self._kept = None

    @property
    def live(self):
        """The rows that belong to an example, a NumPy bool array."""
        return self.own >= 0

    def shrink(self, done, found, tensors, passes_to_go):
        """Drop the examples that are done with, where the rest fits a smaller batch.

        Args:
            done: `(rows,)` bool tensor; an example leaves with its first row that is true.
            found: tuple of `(rows, ...)` tensors, or of numbers that hold for every row: what is kept of
                the examples that leave.
            tensors: nested structure of `(rows, ...)` tensors.
            passes_to_go: int, passes that a row will still take.

        Returns:
            The structure, cut or as it was, or None when no example is left.
        """
        leaving = self.live & np.isin(self.own, self.own[self.live & ops.convert_to_numpy(done)])
        going = np.flatnonzero(self.live & ~leaving)
        size = shrunken(len(going), len(self._rows), passes_to_go, self._least_saved)
        if len(going) and size == len(self._rows):
            return tensors
        self._store(leaving, found)
        if not len(going):
            return None
        # What fills the batch up is done with: its results are not looked at again.
        filling = np.setdiff1d(np.arange(len(self._rows)), going)[: size - len(going)]
        chosen = np.concatenate([going, filling])
        self._rows = self._rows[chosen]
        self.own = np.where(np.arange(size) < len(going), self.own[chosen], -1)
        return take(tensors, chosen)

    def finish(self, found):
        """Keep what was found for the examples that stayed to the end.

        Args:
            found: as in `shrink`.

        Returns:
            `outcome`.
        """
        self._store(self.live, found)
        return self.outcome

    @property
    def outcome(self):
        """What was kept: list of `(size, ...)` NumPy arrays, zero where nothing was."""
        return self._kept

    def _store(self, mask, found):
        values = [ops.convert_to_numpy(value) for value in found]
        if self._kept is None:
            self._kept = [np.zeros((self.size, *v.shape[1:]), v.dtype) for v in values]
        rows = self._rows[mask]
        for kept, value in zip(self._kept, values, strict=True):
            kept[rows] = value[mask] if value.ndim else value
