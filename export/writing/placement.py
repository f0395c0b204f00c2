"""Puts a finished file in place at once, or not at all."""

import contextlib
import os
import pathlib
import secrets
import shutil


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
    """Return a temporary sibling to write to and renames it to the path at the end.

    A rename inside one directory is atomic, so a reader never sees half a file. When the block raises,
    the sibling is deleted and whatever stood at the path stays.

    Args:
        path: `pathlib.Path`.
        directory: bool, whether a directory is going to be written.
        overwrite: bool, whether an earlier export may be replaced.

    Yields:
        `pathlib.Path` to write to; nothing exists there yet.

    Raises:
        FileExistsError: as `check_target`, again at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    temporary = path.with_name(f".{path.name}.{mark}.tmp")
    try:
        yield temporary
        check_target(path, directory=directory, overwrite=overwrite)
        if directory and path.exists():
            _swap_directory(temporary, path, path.with_name(f".{path.name}.{mark}.old"))
        else:
            os.replace(temporary, path)
    finally:
        _delete(temporary)


def _swap_directory(new, path, aside):
    # A directory cannot be renamed onto one that holds files.
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside)


def _delete(path):
    if path.is_dir():
        shutil.rmtree(path)
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
