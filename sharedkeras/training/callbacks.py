"""What happens around an epoch: validation under attack, checkpoints, the log."""

import csv
import io
import math
import pathlib
import time

import keras
import numpy as np
from keras import ops

from sharedkeras.evaluation import evaluate
from sharedkeras.files import save_network, write_atomically
from sharedkeras.models import FrozenClassifier
from sharedkeras.training import checkpoint
from sharedkeras.training.counting import CountsUpdates
from sharedkeras.training.divergence import check_finite

_LONGEST_WITHOUT = 300.0  # Seconds, the most that a kill may cost unless more is asked for.


def cut_short(trainer):
    """Tell whether a run was stopped before its epoch ended, which is then not judged or kept."""
    updates = int(ops.convert_to_numpy(trainer.update.value))
    return trainer.stop_training and updates % trainer.steps_per_epoch != 0


class EpochState(keras.callbacks.Callback):
    """Tells the trainer and the batches which epoch begins, so that schedules and order follow it.

    Args:
        batches: `data.Batches`, or None.
    """

    def __init__(self, batches=None):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch's number, counted from 0."""
        self.model.begin_epoch(epoch)
        if self.batches is not None:
            self.batches.epoch = epoch


class OpenLog(keras.callbacks.Callback):
    """Goes on with the log of an epoch that was stopped in its middle.

    Keras sets the sums of a log to zero when an epoch begins.

    Args:
        sums: list of arrays, the values of the trainer's metrics when the epoch was stopped.
    """

    def __init__(self, sums):
        super().__init__()
        self.sums = sums

    def on_epoch_begin(self, epoch, logs=None):
        """Put the sums back."""
        for variable, value in zip(self.model.metrics_variables, self.sums, strict=True):
            variable.assign(value)


class SettleAverage(keras.callbacks.Callback):
    """Ready the averaged network at the end of each epoch, before it is judged and kept.

    Args:
        batches: `data.Batches` of the training images.
        examples: int, about how many of them the BatchNorm statistics are estimated on.
    """

    def __init__(self, batches, examples=2048):
        super().__init__()
        self.batches = batches
        self.count = min(max(examples // batches.batch_size, 1), len(batches))

    def on_epoch_end(self, epoch, logs=None):
        """Give the averaged network its weights and statistics."""
        if cut_short(self.model):
            return
        rows = self.batches.order(epoch)
        size = self.batches.batch_size
        self.model.average.settle(
            self.batches.x[rows[i * size : (i + 1) * size]] for i in range(self.count)
        )


class MaxSteps(CountsUpdates):
    """Stops a run after a number of updates, counted over all its epochs.

    Where Keras makes several updates between two calls, it stops after those in which the number falls.

    Args:
        steps: int, at least 1.
    """

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_begin(self, logs=None):
        """Stop at once if they were made before."""
        super().on_train_begin(logs)
        self.model.stop_training = self.updates >= self.steps

    def on_train_batch_end(self, batch, logs=None):
        """Stop if they are made."""
        super().on_train_batch_end(batch, logs)
        self.model.stop_training = self.updates >= self.steps


class RobustValidation(keras.callbacks.Callback):
    """Measures natural and robust accuracy on validation images after each epoch.

    Adds `val_natural` and `val_robust` to the epoch's log. Runs first, so that the others see them.

    Args:
        x: `(n, H, W, C)` validation images.
        y: `(n,)` labels.
        attacks: dict from name to attack; robust is who withstands all of them.
        batch_size: int.
        examples: int, how many of the images are attacked; the natural accuracy is over all.
    """

    def __init__(self, x, y, *, attacks, batch_size, examples):
        super().__init__()
        self.x, self.y = x, y
        self.attacks = attacks
        self.batch_size = batch_size
        self.examples = examples
        self._classifier = None

    def on_epoch_end(self, epoch, logs=None):
        """Evaluate with fixed draws, so that epochs are compared on the same attack."""
        if cut_short(self.model):
            return
        if self._classifier is None:
            self._classifier = FrozenClassifier(self.model.judged)
        self._classifier.refresh()
        n = self.examples
        report = evaluate(
            self._classifier,
            self.x[:n],
            self.y[:n],
            self.attacks,
            batch_size=self.batch_size,
            checks=False,
            verbose=False,
        )
        right = int(report.flags["clean"].sum())
        for start in range(n, len(self.x), self.batch_size):
            part = slice(start, start + self.batch_size)
            logits = ops.convert_to_numpy(self._classifier.predict(self.x[part]))
            right += int((logits.argmax(axis=1) == self.y[part]).sum())
        logs["val_natural"] = right / len(self.x)
        logs["val_robust"] = report.robust


class Keeper(keras.callbacks.Callback):
    """Writes after each epoch all that a run leaves: weights, checkpoint, log.

    `last.keras` are the newest weights, `best.keras` those of the largest `val_robust` (of equal ones
    the largest `val_natural`), averaged where the trainer keeps an average; without validation images
    both are the newest. The checkpoint comes last: what it says is done has been written.

    Where epochs take seconds, writing all state after each would take as long again. `best.keras` and
    the log are always written; `last.keras` and the checkpoint when the last ones are old enough, and at
    the end. Where epochs take long, a checkpoint is written in mid-epoch every five minutes.

    Args:
        run_dir: directory of the run.
        history: dict of lists, the epochs before this run.
        identity: dict of str, what tells the run from others, for its checkpoints.
        seconds: float at least 0, the least time between two checkpoints, which is what a kill may cost.
        writes: bool; of several processes that train together one does, the others keep the history.
        spent: float, seconds that the epoch to begin with took before the run was stopped in it.
    """

    def __init__(self, run_dir, history=None, identity=None, seconds=0.0, writes=True, spent=0.0):
        super().__init__()
        self.writes = writes
        self._spent = spent
        self.identity = identity
        self.run_dir = pathlib.Path(run_dir)
        self.history = {k: list(v) for k, v in (history or {}).items()}
        self.seconds = seconds
        self._began = None
        self._saved = -math.inf
        self._epoch = None

    def on_train_begin(self, logs=None):
        """Start the time to the first checkpoint."""
        self._saved = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Start the epoch's clock."""
        self._began = time.perf_counter() - self._spent
        self._spent = 0.0
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Write a checkpoint in mid-epoch if the last one is too old."""
        if self.writes and time.perf_counter() - self._saved >= max(self.seconds, _LONGEST_WITHOUT):
            self.keep_state()

    def keep_state(self):
        """Write a checkpoint of an epoch that is under way.

        Returns:
            bool, whether one was written; not after an epoch's last update, since its end writes more.
        """
        update = int(ops.convert_to_numpy(self.model.update.value))
        if update % self.model.steps_per_epoch == 0:
            return False
        check_finite(self.model, update)
        checkpoint.save(
            self.run_dir / "checkpoints",
            self.model,
            epoch=self._epoch,
            history=self.history,
            run=self.identity,
            sums=self.model.metrics_variables,
            update=update,
            spent=time.perf_counter() - self._began,
        )
        self._saved = time.perf_counter()
        return True

    def on_epoch_end(self, epoch, logs=None):
        """Write weights, log and checkpoint, each atomically."""
        if cut_short(self.model):
            return
        row = {"epoch": epoch, **{k: float(v) for k, v in (logs or {}).items()}}
        row["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = time.perf_counter() - self._began
        done = len(self.history.get("epoch", []))
        for name, value in row.items():
            # What an earlier version did not log is not known of the epochs before.
            self.history.setdefault(name, [math.nan] * done).append(value)
        check_finite(self.model, int(ops.convert_to_numpy(self.model.update.value)))
        if not self.writes:
            return
        is_due = time.perf_counter() - self._saved >= self.seconds or self._is_last(epoch)
        if is_due:
            save_network(self.model.plain, self.run_dir / "last.keras")
        if self._is_best():
            save_network(self.model.judged, self.run_dir / "best.keras")
        write_atomically(self.run_dir / "metrics.csv", _as_csv(self.history))
        if not is_due:
            return
        self._saved = time.perf_counter()
        checkpoint.save(
            self.run_dir / "checkpoints",
            self.model,
            epoch=epoch + 1,
            history=self.history,
            run=self.identity,
            sums=self.model.metrics_variables,
        )

    def _is_last(self, epoch):
        return self.model.stop_training or epoch + 1 == self.params["epochs"]

    def _is_best(self):
        robust = self.history.get("val_robust")
        if not robust:
            return True
        scores = list(zip(robust, self.history["val_natural"], strict=True))
        return scores[-1] >= max(scores)


class StopEarly(keras.callbacks.Callback):
    """Ends a run whose robust validation accuracy no longer rises.

    A network that is trained adversarially for long becomes less robust on images that it has not seen,
    while its natural accuracy still rises.

    Args:
        patience: int, epochs without a larger `val_robust` after which the run ends.
        history: dict of lists, the epochs that `Keeper` has logged; this callback comes before it, so
            that the last epoch is kept as such.

    Reference: L. Rice, E. Wong, Z. Kolter, "Overfitting in adversarially robust deep learning", 2020.
    """

    def __init__(self, patience, history):
        super().__init__()
        self.patience = patience
        self.history = history

    @property
    def is_over(self):
        """Whether the patience is at its end."""
        return self._is_over(self.history.get("val_robust", []))

    def on_epoch_end(self, epoch, logs=None):
        """Stop if no epoch of the last ones was better than the best before."""
        if not cut_short(self.model) and self._is_over(
            [*self.history.get("val_robust", []), logs["val_robust"]]
        ):
            self.model.stop_training = True

    def _is_over(self, robust):
        return bool(robust) and len(robust) - 1 - int(np.argmax(robust)) >= self.patience


def _as_csv(history):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(history)
    writer.writerows(zip(*history.values(), strict=True))
    return text.getvalue()
