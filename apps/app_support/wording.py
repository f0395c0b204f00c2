"""How the applications put things."""

import time


def duration(seconds):
    """Write seconds as people say them: '40 s', '12 min', '3 h 20 min', '4 days 6 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


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
