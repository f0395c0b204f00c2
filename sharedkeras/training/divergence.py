"""Watches a run's losses: one that leaps is told, one that is not finite stops the run."""

import math

import numpy as np
from keras import ops

from sharedkeras.training import checkpoint
from sharedkeras.training.counting import CountsUpdates

_LEAP = 3.0
"""Times the first loss. A sound run falls; residual networks that leap so far seldom recover."""


class DivergedError(RuntimeError):
    """A loss or a weight is not finite; the message names the update."""


class _ReadsLosses(CountsUpdates):
    """Reads the loss of each update only while the next one runs, so that no device waits for it."""

    def __init__(self):
        super().__init__()
        self._loss = None

    def see(self, loss, count):
        """Look at a loss.

        Args:
            loss: float, the mean since the epoch began.
            count: int, the updates since the epoch began.
        """
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Forget what another run left unread."""
        super().on_train_begin(logs)
        self._loss = None

    def on_train_batch_end(self, batch, logs=None):
        """See the loss of the update before."""
        self._read()
        super().on_train_batch_end(batch, logs)
        self._loss = ((logs or {}).get("loss"), self.updates_of_epoch)

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

    def on_epoch_end(self, epoch, logs=None):
        """Check the last loss, and everything that is about to be kept."""
        super().on_epoch_end(epoch, logs)
        check_finite(self.model, self.updates)
        if self.probe is not None:
            outputs = ops.convert_to_numpy(self.model(self.probe, training=False))
            if not np.isfinite(outputs).all():
                bad = outputs[~np.isfinite(outputs)].flat[0]
                raise _diverged("an output of the network", self.updates, bad)

    def see(self, loss, count):
        """Refuse a loss that is not finite."""
        if not math.isfinite(loss):
            raise _diverged("the loss", self.updates, loss)


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

    def see(self, loss, count):
        """Compare an update's own loss with the first one."""
        if self._is_over:
            return
        mean, done = self._before
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
