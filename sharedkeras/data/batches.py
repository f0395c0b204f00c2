"""Batches for training, in an order that a resumed run meets again."""

import operator
import warnings

import keras
import numpy as np

from sharedkeras.data.check_images import check_images
from sharedkeras.data.check_labels import check_labels


class Batches(keras.utils.PyDataset):
    """Cuts images and labels into batches whose order depends on seed and epoch alone.

    A run that is stopped and resumed at epoch e must read what it would have read. So nothing is
    drawn from a generator with a state: the order of an epoch is the ranking of random words
    encrypted with (seed, epoch) as the key. Each batch says which examples it holds, for objectives
    that keep something for each example and for draws that depend on the example.

    The loop sets `epoch` when an epoch begins, as `batches.epoch = e` in a callback's
    `on_epoch_begin(e)`; a loop that doesn't gets the next order after each epoch that was read to its
    end. Keras reads no batch beyond an epoch's end. Two things would spoil the order: `fit` with its
    default `shuffle=True`, which shuffles whole batches by Python's global generator (`RobustTrainer`
    passes False; a warning says so elsewhere), and `steps_per_epoch` less than `len(batches)`. One
    object serves one loop at a time.

    Args:
        x: `(N, H, W, C)` float32 array in `[0, 1]`.
        y: `(N,)` integers.
        batch_size: int, at least 1.
        seed: int in `[0, 2**64)`.
        shuffle: bool; False keeps the examples' order in every epoch.
        drop_remainder: bool, whether to leave out a last batch that is not full, so that all have
            one shape.
        index: bool, whether to give the examples' numbers.
        part: `(number, count)`: of `count` processes that share each batch, the one that reads this
            object; it gets the consecutive part of that number. The batches must be full ones then.

    Returns:
        By `batches[i]`: `(x, {"label": y, "index": i})`, shapes `(batch, H, W, C)` float32, `(batch,)`
        int32 twice; the index is the example's row in the `x` given here.

    Raises:
        TypeError: if images or labels are not of the right type.
        ValueError: if they are not images and their labels, or there is no full batch.

    Reference: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
    2011 (Philox).
    """

    def __init__(
        self,
        x,
        y,
        batch_size,
        *,
        seed=0,
        shuffle=True,
        drop_remainder=False,
        index=True,
        part=(0, 1),
    ):
        super().__init__()
        self.x = check_images(x)
        self.y = check_labels(y, size=len(self.x))
        self.batch_size = _integer("batch_size", batch_size, low=1)
        self.seed = _integer("seed", seed)
        self.shuffle = bool(shuffle)
        self.drop_remainder = bool(drop_remainder)
        self.index = bool(index)
        if drop_remainder and len(self.x) < self.batch_size:
            raise ValueError(
                "Without the remainder there is not one batch. Expected at least batch_size images. "
                f"Received: {len(self.x)} images, batch_size={self.batch_size}"
            )
        number, count = part
        if not 0 <= number < count or self.batch_size % count or (count > 1 and not drop_remainder):
            raise ValueError(
                "`part` must be (number, count) with a number below the count, which divides the batch "
                f"size; parts are of full batches. Received: part={part}, batch_size={batch_size}, "
                f"drop_remainder={drop_remainder}"
            )
        self.part = part
        self._epoch = 0
        self._cached = None
        self._running = False  # Whether a loop has begun an epoch and not ended it.
        self._first = False  # Whether its first batch is still to be asked for.
        self._last = False  # Whether its last batch has been asked for.
        self._warned = False

    @property
    def epoch(self):
        """The epoch, counted from 0, whose batches are read."""
        return self._epoch

    @epoch.setter
    def epoch(self, value):
        self._epoch = _integer("epoch", value)

    def __len__(self):
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.x), self.batch_size)
        return full + (rest > 0 and not self.drop_remainder)

    def __getitem__(self, position):
        """Return the batch at a position of the current epoch."""
        count = len(self)
        if not -count <= position < count:
            raise IndexError(f"There are {count} batches. Received: {position}")
        position %= count
        self._watch(position, count)
        number, count = self.part
        size = self.batch_size // count
        start = position * self.batch_size + number * size
        rows = self.order(self._epoch)[start : start + size]
        targets = {"label": self.y[rows]}
        if self.index:
            targets["index"] = rows
        return self.x[rows], targets

    def after(self, position):
        """Return the rest of an epoch, as a data set of its own.

        Args:
            position: int in `1 .. len(self) - 1`, the batches that have been read.

        Returns:
            `keras.utils.PyDataset` of the batches from there on, in the epoch that is set here.

        Raises:
            ValueError: if nothing is left, or nothing was read.
        """
        if not 0 < position < len(self):
            raise ValueError(
                f"`position` must be in [1, {len(self) - 1}]. Received: position={position}"
            )
        return _Rest(self, position)

    def order(self, epoch):
        """Return the examples' numbers in the order of an epoch.

        Args:
            epoch: int, at least 0.

        Returns:
            `(N,)` int32 array.
        """
        if not self.shuffle:
            epoch = 0
        cached = self._cached  # One read, since another thread may prefetch.
        if cached is None or cached[0] != epoch:
            cached = (epoch, self._order(epoch))
            self._cached = cached
        return cached[1]

    def _order(self, epoch):
        if not self.shuffle:
            return np.arange(len(self.x), dtype="int32")
        # Raw words, because NumPy promises their stream for ever, and not `permutation`'s.
        words = np.random.Philox(key=np.array([self.seed, epoch], "uint64")).random_raw(len(self.x))
        return np.argsort(words, kind="stable").astype("int32")

    def on_epoch_begin(self):
        """Note that a loop begins to read; called by Keras."""
        self._running, self._first, self._last = True, True, False

    def on_epoch_end(self):
        """Move on to the next epoch if this one was read to its end; called by Keras."""
        # Keras also calls this before the first epoch and once more when data runs out.
        if self._last:
            self._epoch += 1
        self._running = self._first = self._last = False

    def _watch(self, position, count):
        if self._first and position != 0 and not self._warned:
            self._warned = True
            warnings.warn(
                "The batches are read in another order than their own, which no seed repeats. Call "
                "`fit(..., shuffle=False)`: `Batches` shuffles the examples itself.",
                stacklevel=3,
            )
        self._first = False
        # Keras looks at a few batches beforehand, for their shapes; these do not count.
        self._last = self._last or (self._running and position == count - 1)


class _Rest(keras.utils.PyDataset):
    """Batches from a position on; epochs are counted by the whole."""

    def __init__(self, whole, position):
        super().__init__()
        self.whole = whole
        self.position = position

    def __len__(self):
        return len(self.whole) - self.position

    def __getitem__(self, position):
        if not 0 <= position < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: {position}")
        return self.whole[self.position + position]


def _integer(name, value, low=0):
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be an integer. Received: {name}={value!r}") from None
    if isinstance(value, bool) or not low <= number < 2**64:
        raise ValueError(f"`{name}` must be in [{low}, 2**64). Received: {name}={value!r}")
    return number
