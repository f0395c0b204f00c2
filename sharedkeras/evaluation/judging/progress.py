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


class Progress:
    """A bar with the time remaining for each attack, and a line when it has ended.

    Without a terminal only the lines are written, so that a log stays readable.

    Args:
        verbose: bool; None shows progress where standard error is a terminal.
    """

    def __init__(self, verbose=None):
        console = Console(stderr=True)
        self._show = console.is_terminal if verbose is None else verbose
        self._bar = Bar(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[broken]} broken"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
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

    def start(self, name, total):
        """Begins an attack on `total` examples."""
        self._broken, self._started = 0, time.perf_counter()
        self._task = self._bar.add_task(name, total=total, broken=0)

    def advance(self, count, broken):
        """Count examples as done, `broken` of them misclassified now."""
        self._broken += broken
        self._bar.update(self._task, advance=count, broken=self._broken)

    def finish(self, name, accuracy, seconds):
        """End an attack with one line."""
        self._bar.remove_task(self._task)
        if self._show:
            print(f"{name:<16} {100 * accuracy:6.2f} %  {seconds:8.1f} s", file=sys.stderr)
