"""A finished file or directory takes the place of an older one in one step."""

import ctypes
import glob
import os
import pathlib
import shutil

from sharedkeras.files.directories import sync_directory, sync_tree
from sharedkeras.files.litter import temporary

_HERE = -100  # AT_FDCWD of Linux: paths count from the working directory.
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux.
_ASIDE = ".old"


def put_in_place(new, path):
    """Rename a finished file or directory to a path, so that a reader finds the old or the new one.

    The content reaches the disk before the name does, and the name before this returns. A directory
    that holds files cannot be renamed onto; Linux exchanges the two in one step. Elsewhere the old one
    is renamed first, and `put_back` undoes that if the process is killed between the two.

    Args:
        new: path of the file or directory, beside `path`.
        path: where it belongs; what is there is replaced.

    Raises:
        OSError: if the disk fails; what was there stays.
    """
    new, path = pathlib.Path(new), pathlib.Path(path)
    sync_tree(new)
    if not (new.is_dir() and path.is_dir()):
        os.replace(new, path)
        sync_directory(path.parent)
        return
    if _exchanged(new, path):
        old = new
    else:
        old = temporary(path, _ASIDE)
        os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def put_back(path):
    """Give a directory its name again if `put_in_place` was killed while it had none.

    Args:
        path: where it belongs.
    """
    path = pathlib.Path(path)
    if os.path.lexists(path) or not path.parent.is_dir():
        return
    for other in path.parent.glob(f".{glob.escape(path.name[:120])}.*.tmp{_ASIDE}"):
        os.rename(other, path)
        return


def _exchanged(one, other):
    """Exchange two paths; tell whether the system can."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # Not Linux, or an old one.
        return False
    return exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0
