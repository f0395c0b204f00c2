"""The progress of a training run on the terminal."""

import math
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from sharedkeras.durations import duration
from sharedkeras.training.counting import CountsUpdates

_LINE_SECONDS = 60.0
"""Between two lines of a log in mid-epoch."""
_BAR_SECONDS = 0.5
"""Between two looks at the loss: each waits for the device."""


class RunProgress(CountsUpdates):
    """Show how far a run is, its measures, and how long the whole of it still takes.

    On a terminal a bar, and a line for each epoch that has ended; in a log the lines alone, and one a
    minute in mid-epoch. Epochs of a run cost unlike amounts, since attacks get more steps: the time that
    is left is what a unit of cost has taken so far times the cost to come. The first update, which
    compiles, is left out. Goes after the callbacks that add to an epoch's log; a context manager, since
    a run that goes on in mid-epoch has two parts.

    Args:
        costs: list of `(training, validation)`, the costs of each epoch of the run, in any one unit.
        updates_per_epoch: int.
        last_update: int, the update after which the run ends early, or None.
        show: as `verbose` of `keras.Model.fit`: "auto" or 1 for a bar where there is a terminal, 2 for
            lines, 0 for nothing.
    """

    def __init__(self, costs, updates_per_epoch, last_update=None, show="auto"):
        super().__init__()
        self._costs = costs
        self._per_epoch = updates_per_epoch
        self._end = len(costs) * updates_per_epoch
        if last_update is not None:
            self._end = min(self._end, last_update)
        console = Console(highlight=False)
        self._show = bool(show)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rest]}"),
            console=console,
            disable=not (self._show and show != 2 and console.is_terminal),
            transient=True,
        )
        self._task = None
        self._epoch = 0
        self._began = self._from = None
        self._told = self._epoch_began = time.perf_counter()

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        """Begin the epoch's bar."""
        super().on_epoch_begin(epoch, logs)
        self._epoch = epoch
        self._epoch_began = time.perf_counter()
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._name, total=self._per_epoch, rest=self._ending())
        self._bar.update(self._task, completed=self.updates - epoch * self._per_epoch)

    def on_train_batch_end(self, batch, logs=None):
        """Count the updates, and tell of them from time to time."""
        super().on_train_batch_end(batch, logs)
        now = time.perf_counter()
        if self._began is None:
            self._began, self._from = now, self._done()
        pause = _LINE_SECONDS if self._bar.disable else _BAR_SECONDS
        in_epoch = self.updates - self._epoch * self._per_epoch
        if not self._show or now - self._told < pause or in_epoch >= self._per_epoch:
            return
        self._told = now
        rest = "  ".join(t for t in (_measures({"loss": (logs or {}).get("loss")}), self._ending()) if t)
        if self._bar.disable:
            print(f"{self._name}  {in_epoch:,} of {self._per_epoch:,} updates  {rest}", flush=True)
        else:
            self._bar.update(self._task, completed=in_epoch, rest=rest)

    def on_epoch_end(self, epoch, logs=None):
        """Tell what the epoch has brought."""
        if not self._show:
            return
        now = time.perf_counter()
        if self.updates == (epoch + 1) * self._per_epoch:
            done = duration(now - self._epoch_began)
        else:
            done = f"{self.updates - epoch * self._per_epoch:,} of {self._per_epoch:,} updates"
        parts = [self._name, done, _measures(logs or {}), self._ending(ended=epoch + 1)]
        line = "  ".join(part for part in parts if part)
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.console.print(line, markup=False, soft_wrap=True)
        self._told = now

    @property
    def _name(self):
        return f"epoch {self._epoch + 1} of {len(self._costs)}"

    def seconds_left(self, ended=None):
        """Return the time that the rest of the run takes.

        Args:
            ended: int, epochs that have ended, their validation included, or None in mid-epoch.

        Returns:
            Seconds, float, or None as long as nothing is known.
        """
        if self._began is None:
            return None
        done = self._done(ended)
        if done <= self._from:
            return None
        rate = (time.perf_counter() - self._began) / (done - self._from)
        epochs, updates = divmod(self._end, self._per_epoch)
        return rate * max(self._cost(epochs, updates) - done, 0.0)

    def _done(self, ended=None):
        """Return the cost of what is done; the validation of an epoch counts when it has ended."""
        if ended is not None and self.updates >= ended * self._per_epoch:
            return self._cost(ended, 0)
        return self._cost(self._epoch, self.updates - self._epoch * self._per_epoch)

    def _cost(self, epochs, updates):
        cost = math.fsum(training + validation for training, validation in self._costs[:epochs])
        if updates:
            cost += self._costs[epochs][0] * updates / self._per_epoch
        return cost

    def _ending(self, ended=None):
        if self.updates >= self._end:
            return ""
        left = self.seconds_left(ended)
        return "" if left is None else f"about {duration(left)} to go"


def _measures(logs):
    """Write the measures of a log: the loss, its parts, accuracies in per cent."""
    names = sorted(logs, key=lambda name: (name != "loss", name.startswith("val_")))
    told = []
    for name in names:
        if logs[name] is None:
            continue
        value = float(logs[name])
        if name.startswith("val_"):
            told.append(f"{name.removeprefix('val_')} {100 * value:.1f} %")
        else:
            told.append(f"{name} {value:.4g}")
    return "  ".join(told)
