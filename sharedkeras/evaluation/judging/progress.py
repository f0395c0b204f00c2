"""The progress of an evaluation on the terminal."""

import math
import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from sharedkeras.durations import duration

_LINE_SECONDS = 60.0
"""Between two lines of a log while an attack is under way."""


class Progress:
    """A bar with the time remaining for each attack, and a line when it has ended.

    The time remaining in all is reckoned from the forward passes that are left and from how long those
    so far took: known from the first batch on, and too large by what later attacks are spared by the
    examples that are still to be broken. Without a terminal only the lines are written, so that a log
    stays readable.

    Args:
        verbose: bool; None shows progress where standard error is a terminal.
        cost: function of an attack's name that gives the forward passes of an example that withstands
            it, 0 where that is not known.
        cascade: bool, whether later attacks are spared the examples that an earlier one breaks.
    """

    def __init__(self, verbose=None, cost=None, cascade=False):
        self._cost = cost or (lambda name: 0.0)
        self._cascade = cascade
        self._spent, self._later, self._left = 0.0, 0.0, 0
        self._begun = self._told = time.perf_counter()
        console = Console(stderr=True)
        self._show = console.is_terminal if verbose is None else verbose
        self._bar = Bar(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[broken]} broken"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[in_all]}"),
            console=console,
            disable=not (self._show and console.is_terminal),
            transient=True,
            speed_estimate_period=math.inf,  # A batch may take longer than rich remembers by default.
        )
        self._task, self._broken = None, 0

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def start(self, name, total, later=None):
        """Begin an attack on `total` examples.

        Args:
            name: str.
            total: int.
            later: dict from the attacks after it to the examples that each is to see, as far as known.
        """
        self._name, self._total, self._left, self._broken = name, total, total, 0
        self._later = sum(self._cost(attack) * count for attack, count in (later or {}).items())
        self._task = self._bar.add_task(name, total=total, broken=0, in_all=self._in_all())

    def advance(self, count, broken, passes=0.0):
        """Count examples as done, `broken` of them misclassified now, for so many forward passes."""
        self._broken, self._left = self._broken + broken, self._left - count
        self._spent += passes
        self._bar.update(self._task, advance=count, broken=self._broken, in_all=self._in_all())
        now = time.perf_counter()
        if self._show and self._bar.disable and self._left and now - self._told >= _LINE_SECONDS:
            self._told = now
            done = f"{self._total - self._left} of {self._total}"
            print(f"{self._name:<16} {done}  {self._in_all()}", file=sys.stderr)

    def finish(self, name, accuracy, seconds):
        """End an attack with one line."""
        self._bar.remove_task(self._task)
        if self._show:
            left = self._in_all()
            end = f"  {left}" if left else ""
            print(f"{name:<16} {100 * accuracy:6.2f} %  {seconds:8.1f} s{end}", file=sys.stderr)

    @property
    def seconds_left(self):
        """The time that the rest of the evaluation takes, or None as long as nothing is known."""
        if not self._spent:
            return None
        rate = (time.perf_counter() - self._begun) / self._spent
        spared = self._broken / max(self._total, 1) if self._cascade else 0.0
        return rate * (self._left * self._cost(self._name) + (1.0 - spared) * self._later)

    def _in_all(self):
        left = self.seconds_left
        return "" if left is None else f"about {duration(left)} to go"
