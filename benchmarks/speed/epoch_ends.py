"""Measures what passes between an epoch's last update and the next one's first, beyond validation.

    python -m benchmarks.speed.epoch_ends
    python -m benchmarks.speed.epoch_ends --autotuning   # as Keras reads data by itself

The gap depends on how long an epoch lasts and not on what it computes, so that a small network trains
whose updates are stretched by waiting.
"""

import json
import time

import keras
import numpy as np
from absl import app, flags

import sharedkeras
from sharedkeras.attacks import FGSM
from sharedkeras.objectives import Standard
from sharedkeras.training import RobustTrainer

_EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs.", lower_bound=2)
_SECONDS = flags.DEFINE_float("seconds", 6.0, "Length of an epoch.")
_UPDATES = flags.DEFINE_integer("updates", 12, "Updates of an epoch.", lower_bound=2)
_AUTOTUNING = flags.DEFINE_bool("autotuning", False, "Leave tf.data's autotuning on.")

_BATCH = 64


class _Autotuned(RobustTrainer):
    """The trainer as it would be if Keras's way of reading data were left alone."""

    @property
    def distribute_strategy(self):
        return keras.Model.distribute_strategy.fget(self)


class Gaps(keras.callbacks.Callback):
    """Takes the seconds between epochs, without those of validation.

    Args:
        pause: float, seconds added to each update.
    """

    def __init__(self, pause):
        super().__init__()
        self.pause = pause
        self.gaps, self.validation = [], []
        self._updated = self._tested = None

    def on_train_batch_begin(self, batch, logs=None):
        """End a gap, if this is the first update after one."""
        now = time.perf_counter()
        if batch == 0 and self._updated is not None:
            self.gaps.append(now - self._updated - self.validation[-1])
        time.sleep(self.pause)

    def on_train_batch_end(self, batch, logs=None):
        """Begin a gap."""
        self._updated = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Begin validation."""
        self._tested = time.perf_counter()

    def on_test_end(self, logs=None):
        """End validation."""
        self.validation.append(time.perf_counter() - self._tested)


def main(_):
    """Train and print the gaps as JSON."""
    generator = np.random.default_rng(0)
    count = _BATCH * _UPDATES.value
    x = generator.random((count, 28, 28, 1), "float32")
    y = generator.integers(0, 10, count).astype("int32")
    inputs = keras.Input((28, 28, 1))
    network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    kind = _Autotuned if _AUTOTUNING.value else RobustTrainer
    trainer = kind(network, Standard(attack=FGSM(epsilon=0.1)))
    trainer.compile(optimizer="sgd")
    gaps = Gaps(_SECONDS.value / _UPDATES.value)
    trainer.fit(
        sharedkeras.data.Batches(x, y, _BATCH),
        epochs=_EPOCHS.value,
        validation_data=sharedkeras.data.Batches(x[:_BATCH], y[:_BATCH], _BATCH, shuffle=False),
        callbacks=[gaps],
        shuffle=False,
        verbose=0,
    )
    figures = {
        "backend": sharedkeras.evaluation.versions()["backend"],
        "autotuning": _AUTOTUNING.value,
        "gaps": [round(gap, 3) for gap in gaps.gaps],
        "largest": round(max(gaps.gaps), 3),
        "validation": [round(seconds, 3) for seconds in gaps.validation],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    app.run(main)
