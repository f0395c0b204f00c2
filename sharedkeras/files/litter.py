"""Temporary files: names that tell their writer, and what dead writers left behind."""

import os
import pathlib
import re
import secrets
import shutil
import socket
import time
import zlib

import psutil

LOCK = ".lock"
_NAME = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp(\.keras)?")
# Names that earlier versions wrote, which do not tell their writer.
_OLD = re.compile(r"\.(.+\.(json|npz|csv|html|md)[a-z0-9_]{8}|best|last)\.tmp(\.keras)?")
_DAY = 86_400


def temporary(path, suffix=""):
    """Return a new name beside a file, from which `remove_litter` knows the process that writes it.

    Args:
        path: `pathlib.Path` of the file.
        suffix: str, at the end of the name.
    """
    token = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:120]}.{token}.tmp{suffix}")


def remove_litter(directory):
    """Remove the temporary files and directories that killed processes left in a directory of ours.

    What a living process is writing stays, and so does what another machine wrote within a day.

    Args:
        directory: path; nothing happens where there is none.
    """
    for path in _entries(directory):
        match = _NAME.fullmatch(path.name)
        if (match and not _is_written(path, match)) or _OLD.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def vacant(directory):
    """Tell whether a directory holds nothing but temporary files and a lock.

    Args:
        directory: path; one that does not exist is vacant.
    """
    return all(
        path.name == LOCK or _NAME.fullmatch(path.name) or _OLD.fullmatch(path.name)
        for path in _entries(directory)
    )


def is_alive(pid, since):
    """Tell whether a process of this machine lives that was there at a time.

    Args:
        pid: int.
        since: seconds since the epoch; a process that began later has only inherited the number.
    """
    try:
        return psutil.Process(pid).create_time() <= since + 1
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _entries(directory):
    directory = pathlib.Path(directory)
    return list(directory.iterdir()) if directory.is_dir() else []


def _is_written(path, match):
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:
        return False
    if match["host"] != _host():
        return time.time() - written < _DAY
    return is_alive(int(match["pid"]), written)


def _host():
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
