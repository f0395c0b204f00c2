"""The number of updates that a run has made."""

import keras
from keras import ops


class CountsUpdates(keras.callbacks.Callback):
    """Counts updates without asking the device, which works on while the host reads.

    Keras may make several updates between two calls (`steps_per_execution`). It then names the batch
    after which they would have ended, beyond the epoch's last one where the epoch holds fewer.

    Attributes:
        updates: int, made in the whole run.
        updates_of_epoch: int, made since the epoch, or the rest of one that is resumed, began.
    """

    def __init__(self):
        super().__init__()
        self.updates = self.updates_of_epoch = 0

    def on_train_begin(self, logs=None):
        """Read how many updates were made before."""
        self.updates = int(ops.convert_to_numpy(self.model.update.value))

    def on_epoch_begin(self, epoch, logs=None):
        """Count batches from the epoch's beginning, as Keras does."""
        self.updates_of_epoch = 0

    def on_train_batch_end(self, batch, logs=None):
        """Add the updates since the last call."""
        steps = (self.params or {}).get("steps")  # None where Keras cannot know.
        count = batch + 1 if steps is None else min(batch + 1, steps)
        self.updates += count - self.updates_of_epoch
        self.updates_of_epoch = count
