"""Directories whose names and content are on the disk, not only in the system's memory."""

import contextlib
import os
import pathlib


def make_directory(path):
    """Make a directory, with those above it, so that a power cut does not take it away again.

    Args:
        path: of the directory; one that is there stays as it is.

    Raises:
        OSError: naming the path, if it cannot be made.
    """
    path = pathlib.Path(path)
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_directory(made.parent)


def sync_directory(path):
    """Write the names of a directory to the disk.

    Args:
        path: of the directory.
    """
    # Windows cannot open a directory, and writes names through.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(path):
    """Write a file to the disk, or all that a directory holds.

    Args:
        path: of the file or directory.

    Raises:
        OSError: if the disk fails.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        for inner in path.iterdir():
            sync_tree(inner)
        sync_directory(path)
    else:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
