"""One reader for HDF5 files: the library, which can hang or crash on damage, runs in a process apart."""

import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys

_COPIER = pathlib.Path(__file__).with_name("hdf5_copier.py")
_COMPUTING = 5  # Seconds of computing; half a second is enough to start.
_WAITING = 30  # Seconds in all, since a machine may be busy.
_RATE = 10 * 1024**2  # Bytes a second that any machine copies.


def copy_hdf5(source, copy, *, what, where=None):
    """Copy an HDF5 file that may come from a stranger, so that the copy can be opened without fear.

    The HDF5 library trusts what it reads: on a few damaged bytes it may loop for ever or end the
    process. So a process of its own, with limits of time and memory, reads the file whole and writes
    groups, attributes and arrays anew. Refused are links, data in other files, objects that are neither
    numbers nor strings, and arrays that would take more than the file itself.

    Args:
        source: path of the file.
        copy: path where nothing exists yet.
        what: str, what the file should be, for messages: "a network".
        where: path that messages name, if it is not `source`.

    Returns:
        int, the bytes that all arrays take.

    Raises:
        OSError: if there is no room for the copy.
        ValueError: if the file cannot be read; the message names it and what was expected.
    """
    size = os.path.getsize(source)
    if shutil.disk_usage(pathlib.Path(copy).parent).free < size:
        raise OSError(errno.ENOSPC, f"No room for a copy of {where or source}", str(copy))
    computing, waiting = (seconds + size // _RATE for seconds in (_COMPUTING, _WAITING))
    command = [sys.executable, "-P", str(_COPIER), str(source), str(copy), str(computing)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",  # Each thread that waits for work takes memory that counts.
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
    }
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=waiting,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"the HDF5 library did not end within {waiting} s"
    else:
        if done.returncode == 0:
            return int(done.stdout)
        reason = _reason(done, computing)
    raise ValueError(
        f"Expected {what} in a whole HDF5 file, and it is damaged or another: {reason}. "
        f"Received: path={where or source}"
    )


def _reason(done, computing):
    if os.name == "posix" and done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"the HDF5 library did not end within {computing} s of computing"
    if done.returncode == 1 and done.stderr:
        return done.stderr.strip().splitlines()[-1].rstrip(".")
    return f"the HDF5 library crashed on it (exit status {done.returncode})"
