"""Puts a finished file in place at once, or not at all."""

import contextlib
import os
import pathlib
import shutil

from sharedkeras.files import make_directory, put_back, put_in_place, remove_litter, temporary


def check_target(path, *, directory, overwrite):
    """Check, before any work, that something may be written at a path.

    Args:
        path: `pathlib.Path`.
        directory: bool, whether a directory is going to be written.
        overwrite: bool, whether what is there may be replaced.

    Raises:
        FileExistsError: if there is something, and `overwrite` is False or it is not an earlier export.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"The path exists; pass `overwrite=True` to replace it. Received: path={str(path)!r}"
        )
    # Replacing deletes: it must not take a directory that is something else.
    if directory and not (path / "saved_model.pb").is_file():
        raise FileExistsError(
            f"The path exists and is no SavedModel, so it is kept. Received: path={str(path)!r}"
        )
    if not directory and not path.is_file():
        raise FileExistsError(
            f"The path exists and is no file, so it is kept. Received: path={str(path)!r}"
        )


@contextlib.contextmanager
def placing(path, *, directory, overwrite):
    """Return a temporary sibling to write to and rename it to the path at the end.

    A reader finds the old export or the new one, after a kill and a power cut too. When the block
    raises, the sibling is deleted and whatever stood at the path stays.

    Args:
        path: `pathlib.Path`.
        directory: bool, whether a directory is going to be written.
        overwrite: bool, whether an earlier export may be replaced.

    Yields:
        `pathlib.Path` to write to; nothing exists there yet.

    Raises:
        FileExistsError: as `check_target`, again at the end.
    """
    make_directory(path.parent)
    remove_litter(path.parent)
    put_back(path)
    place = temporary(path)
    try:
        yield place
        check_target(path, directory=directory, overwrite=overwrite)
        put_in_place(place, path)
    finally:
        _delete(place)


def _delete(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def size_of(path):
    """Add up the bytes of a file or of all files in a directory.

    Args:
        path: path of a file or directory.

    Returns:
        int, bytes.
    """
    path = pathlib.Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
