"""Writing files so that a reader sees the old one or the new one, and so does a power cut."""

import contextlib
import os
import pathlib

from sharedkeras.files.litter import temporary
from sharedkeras.files.placing import put_in_place


def write_atomically(path, data):
    """Write a file so that a reader sees the old one or the new one, never half of one.

    The content reaches the disk before the name does, and the name before this returns. Any number of
    processes may write one path: the last one to finish wins.

    Args:
        path: of the file; a symbolic link is followed. A file that is there keeps its mode.
        data: bytes or str.

    Raises:
        OSError: naming the file, if it cannot be written; what was there before is untouched.
    """
    data = data.encode() if isinstance(data, str) else data

    def write(place):
        with open(place, "xb") as file:
            file.write(data)

    _replace(path, write)


def save_network(network, path):
    """Save a network as a `.keras` file, as `write_atomically` writes.

    Args:
        network: `keras.Model`.
        path: of the file, ending in `.keras`.

    Raises:
        OSError: naming the file, if it cannot be written; what was there before is untouched.
    """
    _replace(path, network.save, suffix=".keras")


def _replace(path, write, suffix=""):
    path = pathlib.Path(os.path.realpath(path))
    place = temporary(path, suffix)
    try:
        write(place)
        with contextlib.suppress(FileNotFoundError):
            os.chmod(place, path.stat().st_mode & 0o777)
        put_in_place(place, path)
    except OSError as error:
        # A full disk does not say which file it had no room for.
        if error.errno is not None:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise OSError(f"{error} Received: path={path}") from error
    finally:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
