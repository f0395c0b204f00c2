"""Stops a run whose loss or weights are no longer finite, before anything good is overwritten."""

import math

import keras
import numpy as np
from keras import ops

from sharedkeras.training import checkpoint


class DivergedError(RuntimeError):
    """A loss or a weight is not finite; the message names the update."""


class StopWhenDiverged(keras.callbacks.Callback):
    """Raise `DivergedError` at the first update whose loss is not finite, and on weights that are not.

    Goes before every callback that judges or keeps the weights. A loss is read only while the next
    update runs, so that looking at it does not hold up the device.

    Args:
        probe: a few images, on which the network's outputs must be finite at an epoch's end: weights can
            be finite and so large that no output is. None asks for none.
    """

    def __init__(self, probe=None):
        super().__init__()
        self.probe = probe
        self._done = 0
        self._batch = -1
        self._loss = None

    def on_train_begin(self, logs=None):
        """Read how many updates were made before."""
        self._done = int(ops.convert_to_numpy(self.model.update.value))
        self._loss = None

    def on_epoch_begin(self, epoch, logs=None):
        """Count batches from the epoch's beginning, as Keras does."""
        self._batch = -1

    def on_train_batch_end(self, batch, logs=None):
        """Check the loss of the update before."""
        self._check_loss()
        self._done += batch - self._batch
        self._batch = batch
        self._loss = (logs or {}).get("loss")

    def on_epoch_end(self, epoch, logs=None):
        """Check the last loss, and everything that is about to be kept."""
        self._check_loss()
        check_finite(self.model, self._done)
        if self.probe is not None:
            outputs = ops.convert_to_numpy(self.model(self.probe, training=False))
            if not np.isfinite(outputs).all():
                bad = outputs[~np.isfinite(outputs)].flat[0]
                raise _diverged("an output of the network", self._done, bad)

    def _check_loss(self):
        if self._loss is not None and not math.isfinite(value := float(self._loss)):
            raise _diverged("the loss", self._done, value)
        self._loss = None


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
