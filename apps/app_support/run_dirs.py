"""Directories of runs: made at once, for one process, and writable before any work is done."""

import contextlib
import pathlib
import tempfile

RUNS = pathlib.Path("runs")


def claim(name):
    """Make a new directory in `runs/`: the name, or the name and a number.

    Two processes that start at once get two directories, since only one of them can make each.

    Args:
        name: str.

    Returns:
        `pathlib.Path`, empty.

    Raises:
        ValueError: if no directory can be made here.
    """
    number = 1
    try:
        RUNS.mkdir(exist_ok=True)
        while True:
            path = RUNS / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
            check_writable(path)
            return path
    except OSError as error:
        raise ValueError(
            f"No directory can be made for the results: {error}. Name one with --run_dir. "
            f"Received: {RUNS.absolute()}"
        ) from error


def check_writable(path):
    """Make a directory if there is none, and try to write in it.

    Args:
        path: of the directory.

    Raises:
        ValueError: if it is no directory, or no file can be written there.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f"The directory for the results cannot be written: {error.strerror}. "
            f"Expected: a directory in which files can be made. Received: --run_dir={path}"
        ) from error


def discard_if_empty(path):
    """Remove a directory in which nothing was written, and `runs/` if that leaves it empty."""
    with contextlib.suppress(OSError):
        pathlib.Path(path).rmdir()
        if pathlib.Path(path).parent == RUNS:
            RUNS.rmdir()


@contextlib.contextmanager
def results_in(run_dir, name):
    """Hold a directory for results while they are worked out; it goes again if nothing came of it.

    Args:
        run_dir: the directory asked for, or None for a new one in `runs/`.
        name: str, what the new one is named after.

    Yields:
        `pathlib.Path` of a directory that can be written.

    Raises:
        ValueError: if it cannot.
    """
    if run_dir is None:
        path, new = claim(name), True
    else:
        path = pathlib.Path(run_dir)
        new = not path.exists()
        check_writable(path)
    try:
        yield path
    finally:
        if new:
            discard_if_empty(path)


def newest(name):
    """Return the directory in `runs/` that was last made for a name, or None."""
    path, number = RUNS / name, 1
    newest_one = None
    while path.exists():
        newest_one = path
        number += 1
        path = RUNS / f"{name}-{number}"
    return newest_one
