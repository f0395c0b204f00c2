"""A directory that one process at a time works in."""

import contextlib
import errno
import os
import pathlib

from sharedkeras.files.litter import LOCK, is_alive

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextlib.contextmanager
def locked(directory):
    """Hold a directory while working in it; the end of the process, by a kill too, releases it.

    The operating system holds the lock where it can (`flock`). Elsewhere the file `.lock` names a
    process, and one that no longer lives holds nothing.

    Args:
        directory: path of a directory that exists.

    Yields:
        None.

    Raises:
        FileExistsError: if this or another process works there already; names it.
        OSError: if nothing can be written there.
    """
    path = pathlib.Path(directory) / LOCK
    handle, release = _take(path) if fcntl else _take_by_number(path)
    try:
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        release(path, handle)


def _take(path):
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one that held it may have removed the file since it was opened.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                os.truncate(handle, 0)
                return handle, _release
        except BlockingIOError:
            os.close(handle)
            raise _is_held(path) from None
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            if path.stat().st_size == 0:  # Made here, and no process's yet.
                path.unlink()
            return _take_by_number(path)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _release(path, handle):
    path.unlink(missing_ok=True)
    os.close(handle)


def _take_by_number(path):
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            return handle, _release_by_number
        except FileExistsError:
            try:
                pid = int(path.read_text() or 0)
                if not pid or is_alive(pid, path.stat().st_mtime):
                    raise _is_held(path) from None
                path.unlink()
            except FileNotFoundError:
                continue
            except (PermissionError, ValueError):  # Windows keeps what a living process has open.
                raise _is_held(path) from None


def _release_by_number(path, handle):
    os.close(handle)
    path.unlink(missing_ok=True)


def _is_held(path):
    try:
        pid = path.read_text()
    except OSError:
        pid = ""
    return FileExistsError(
        f"A process (number {pid or 'unknown'}) works in this directory already. Wait for it, or name "
        f"another directory. Received: directory={path.parent}"
    )
