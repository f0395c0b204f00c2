"""What the applications share: flags, wording, peak memory."""

import os
import pathlib
import resource
import sys
import tempfile
import time

from absl import flags, logging

RUNS = pathlib.Path("runs")

# TensorFlow's notes on its own build are not what a person came to read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def import_quietly():
    """Imports the library; what the framework then writes to the terminal is shown only if it fails."""
    logging.set_verbosity(logging.WARNING)
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import sharedkeras  # noqa: F401
        except BaseException:
            os.dup2(terminal, 2)
            notes.seek(0)
            sys.stderr.write(notes.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def define_common_flags():
    """Defines the flags that every application has."""
    flags.DEFINE_integer("seed", None, "Seed of everything random; default: the recipe's, or 0.")
    flags.DEFINE_string("data_dir", None, "Directory of the data; default: that of TensorFlow Datasets.")
    flags.DEFINE_string("run_dir", None, "Directory of the run; default: a new one in runs/.")
    flags.DEFINE_integer("batch_size", None, "Examples at once; default: the recipe's, or 128.")
    flags.DEFINE_bool("download", True, "Whether to download absent data through TensorFlow Datasets.")


def new_run_dir(name):
    """Returns a directory in `runs/` that is not taken: the name, or the name and a number."""
    path, number = RUNS / name, 1
    while path.exists():
        number += 1
        path = RUNS / f"{name}-{number}"
    return path


def newest_run_dir(name):
    """Returns the directory in `runs/` that was last made for a name, or None."""
    path = new_run_dir(name)
    number = path.name.removeprefix(name).removeprefix("-")
    if not number:
        return None
    return RUNS / (name if number == "2" else f"{name}-{int(number) - 1}")


def peak_memory_gb():
    """Returns the largest resident memory of this process so far, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def duration(seconds):
    """Writes seconds as people say them: '40 s', '12 min', '3 h 20 min', '4 days 6 h'."""
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
        """Prints a heading."""
        print(f"\n[{duration(time.perf_counter() - self._began)}] {text}", flush=True)


def fail(error):
    """Ends the program with an error's message alone: a traceback helps nobody who mistyped a flag."""
    print(f"\nError: {error}", file=sys.stderr)
    sys.exit(2)
