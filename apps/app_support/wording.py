"""How the applications put things."""

import time

from sharedkeras.durations import duration


class Clock:
    """Prints headings with the time since the start."""

    def __init__(self):
        self._began = time.perf_counter()

    def heading(self, text):
        """Print a heading."""
        print(f"\n[{duration(time.perf_counter() - self._began)}] {text}", flush=True)


def findings_text(report):
    """Lay out a report's findings for a terminal, one per line."""
    return "\n".join(f"{f.severity:<7} {f.code}: {f.message}" for f in report.findings)
