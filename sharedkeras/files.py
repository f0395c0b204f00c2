"""Files that are either whole or not there."""

import os
import pathlib
import tempfile


def write_atomically(path, data):
    """Write a file so that a reader sees the old one or the new one, never half of one.

    Args:
        path: of the file.
        data: bytes or str.
    """
    path = pathlib.Path(path)
    data = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def save_network(network, path):
    """Save a network as a `.keras` file, atomically.

    Args:
        network: `keras.Model`.
        path: of the file, ending in `.keras`.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    try:
        network.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
