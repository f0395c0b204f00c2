"""Finished batches of an evaluation that was stopped, and how to go on from them."""

import contextlib
import pathlib
import shutil
import tempfile

from app_support import ending


@contextlib.contextmanager
def kept_in(asked, out):
    """Hold a directory for finished batches, and say how to go on if the application is stopped.

    Args:
        asked: directory that the user named, which stays, or None for one in `out`, which is removed
            once the evaluation is finished or where nothing was.
        out: directory of the results, which exists.

    Yields:
        Path of the directory, for `resume_from`.

    Raises:
        ValueError: if the directory asked for is that of the results.
    """
    if asked is not None and pathlib.Path(asked).resolve() == pathlib.Path(out).resolve():
        raise ValueError(
            "Finished batches and results must be in two directories. "
            f"Received: --resume_from={asked}, --run_dir={out}"
        )
    path = pathlib.Path(asked or tempfile.mkdtemp(prefix="unfinished-", dir=out))

    def go_on():
        if not _holds_batches(path):
            return "No batch was finished, so there is nothing to go on from."
        again = ending.again(f"--resume_from={asked or path}", f"--run_dir={out}")
        return f"Finished batches are kept. To go on:\n  {again}"

    ending.on_stop(go_on)
    finished = False
    try:
        yield path
        finished = True
    finally:
        if asked is None and (finished or not _holds_batches(path)):
            shutil.rmtree(path, ignore_errors=True)
    ending.on_stop(None)


def _holds_batches(path):
    return any(path.rglob("*.npz"))
