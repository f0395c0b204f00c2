"""Watches a run's losses: one that leaps is told, one that is not finite stops the run."""

import math

import keras
import numpy as np
from keras import ops

from sharedkeras.training import checkpoint

_LEAP = 3.0
"""Times the first loss. A sound run falls; residual networks that leap so far seldom recover."""


class DivergedError(RuntimeError):
    """A loss or a weight is not finite; the message names the update."""


class _ReadsLosses(keras.callbacks.Callback):
    """Reads the loss of each update only while the next one runs, so that no device waits for it."""

    def __init__(self):
        super().__init__()
        self._loss = None

    def see(self, loss, batch):
        """Look at a loss.

        Args:
            loss: float, the mean since the epoch began.
            batch: int, the update's place in its epoch.
        """
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Forget what another run left unread."""
        self._loss = None

    def on_train_batch_end(self, batch, logs=None):
        """See the loss of the update before."""
        self._read()
        self._loss = ((logs or {}).get("loss"), batch)

    def on_epoch_end(self, epoch, logs=None):
        """See the last loss."""
        self._read()

    def _read(self):
        if self._loss is not None and self._loss[0] is not None:
            self.see(float(self._loss[0]), self._loss[1])
        self._loss = None


class StopWhenDiverged(_ReadsLosses):
    """Raise `DivergedError` at the first update whose loss is not finite, and on weights that are not.

    Goes before every callback that judges or keeps the weights.

    Args:
        probe: a few images, on which the network's outputs must be finite at an epoch's end: weights can
            be finite and so large that no output is. None asks for none.
    """

    def __init__(self, probe=None):
        super().__init__()
        self.probe = probe
        self._done = 0
        self._batch = -1

    def on_train_begin(self, logs=None):
        """Read how many updates were made before."""
        super().on_train_begin(logs)
        self._done = int(ops.convert_to_numpy(self.model.update.value))

    def on_epoch_begin(self, epoch, logs=None):
        """Count batches from the epoch's beginning, as Keras does."""
        self._batch = -1

    def on_train_batch_end(self, batch, logs=None):
        """Check the loss of the update before."""
        super().on_train_batch_end(batch, logs)
        self._done += batch - self._batch
        self._batch = batch

    def on_epoch_end(self, epoch, logs=None):
        """Check the last loss, and everything that is about to be kept."""
        super().on_epoch_end(epoch, logs)
        check_finite(self.model, self._done)
        if self.probe is not None:
            outputs = ops.convert_to_numpy(self.model(self.probe, training=False))
            if not np.isfinite(outputs).all():
                bad = outputs[~np.isfinite(outputs)].flat[0]
                raise _diverged("an output of the network", self._done, bad)

    def see(self, loss, batch):
        """Refuse a loss that is not finite."""
        if not math.isfinite(loss):
            raise _diverged("the loss", self._done, loss)


class WatchLoss(_ReadsLosses):
    """Tell once when an update of the first epoch has three times the first update's loss.

    Args:
        tell: `tell(code, message)`.
    """

    def __init__(self, tell):
        super().__init__()
        self.tell = tell
        self._is_over = False
        self._first = None
        self._before = 0.0, 0

    def on_epoch_end(self, epoch, logs=None):
        """Watch no further epoch: only the beginning of a run is unsound."""
        super().on_epoch_end(epoch, logs)
        self._is_over = True

    def see(self, loss, batch):
        """Compare an update's own loss with the first one."""
        if self._is_over:
            return
        (mean, done), count = self._before, batch + 1
        own = (loss * count - mean * done) / (count - done)  # Keras logs the mean of the epoch.
        self._before = loss, count
        if self._first is None:
            self._first = own
        elif own > _LEAP * abs(self._first):
            self._is_over = True
            self.tell(
                "loss-leaps",
                f"The loss has leapt from {self._first:.4g} at the first update to {own:.4g} at update "
                f"{count}. Warm the learning rate up, or lower it.",
            )


def check_finite(trainer, update):
    """Refuse a trainer with a variable that is not finite.

    Args:
        trainer: `RobustTrainer`.
        update: int, the updates that were made, for the message.

    Raises:
        DivergedError: naming the variable and the update.
    """
    for variable in checkpoint.variables(trainer):
        value = ops.convert_to_numpy(variable)
        if not np.isfinite(value).all():
            raise _diverged(variable.path, update, value[~np.isfinite(value)].flat[0])


def _diverged(what, update, value):
    return DivergedError(
        f"Training diverged: expected finite numbers, and {what} is {value} at update {update}. What "
        "the epochs before have left is kept as it was. Lower the learning rate, or warm it up."
    )
