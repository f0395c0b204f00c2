"""Written files: whole or as they were, whatever stops the writer, and however many write."""

import errno
import os
import pathlib
import subprocess
import sys
import time

import keras
import pytest
from support.failing_disk import Killed, disk

from sharedkeras.files import (
    litter,
    locked,
    locks,
    remove_litter,
    save_network,
    vacant,
    write_atomically,
)

ROOT = pathlib.Path(__file__).parents[2]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_content_mode_and_links(tmp_path):
    path, link = tmp_path / "a.json", tmp_path / "link.json"
    write_atomically(path, "é")
    assert path.read_bytes() == "é".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)
    assert link.is_symlink()
    assert names(tmp_path) == ["a.json", "link.json"]


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    synced = []
    original = os.fsync

    def fsync(handle):
        synced.append(os.fstat(handle).st_ino)
        original(handle)

    with disk(monkeypatch) as done:
        monkeypatch.setattr(os, "fsync", lambda h: (done.append(("fsync", "")), fsync(h)))
        write_atomically(tmp_path / "a.json", "x")
    assert [name for name, _ in done] == ["open", "open", "fsync", "replace", "fsync", "unlink"]
    assert synced == [(tmp_path / "a.json").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("save", ["bytes", "network"])
def test_killed_at_any_operation_the_file_is_old_or_new(tmp_path, monkeypatch, save):
    small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    path = tmp_path / "a.keras"

    def write():
        if save == "network":
            save_network(small, path)
        else:
            write_atomically(path, b"new")

    def content():
        return path.read_bytes() if save == "bytes" else keras.saving.load_model(path).count_params()

    write_atomically(path, b"old")
    with disk(monkeypatch) as done:
        write()
    new, count = content(), len(done)
    assert count >= 6
    for last in range(count):
        path.write_bytes(b"old")
        with pytest.raises(Killed), disk(monkeypatch, last):
            write()
        replaced = any(name == "replace" for name, _ in done[:last])
        assert content() == new if replaced else path.read_bytes() == b"old"
    # A process of this number lives, so its files are litter only once it does not.
    monkeypatch.setattr(litter, "is_alive", lambda pid, since: False)
    remove_litter(tmp_path)
    assert names(tmp_path) == ["a.keras"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("last", range(5))
def test_errors_of_the_disk_name_the_file_and_leave_it(tmp_path, monkeypatch, number, last):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    error = OSError(number, os.strerror(number))
    with disk(monkeypatch, last, error) as done:
        try:
            write_atomically(path, b"new")
        except OSError as caught:
            assert caught.errno == number
            assert str(path) in str(caught)
    assert path.read_bytes() == (b"new" if ("replace" in dict(done)) else b"old")
    assert names(tmp_path) == ["a.json"]


WRITER = """
import sys
sys.path.insert(0, {root!r})
from sharedkeras.files import write_atomically
for _ in range(60):
    write_atomically({path!r}, {letter!r} * 10**6)
"""


def test_two_writers_and_a_reader(tmp_path):
    path = tmp_path / "a.json"
    sources = [WRITER.format(root=str(ROOT), path=str(path), letter=letter) for letter in "ab"]
    writers = [subprocess.Popen([sys.executable, "-c", source]) for source in sources]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert content in (b"a" * 10**6, b"b" * 10**6)
            seen.add(content[:1])
        time.sleep(0.001)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen == {b"a", b"b"}
    assert names(tmp_path) == ["a.json"]


GONE = 2**22 + 1  # Larger than any number of a process.
HERE = litter._host()


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (f".a.json.{HERE}-{GONE}-0a1b2c3d.tmp", False),
        (f".best.keras.{HERE}-{GONE}-0a1b2c3d.tmp.keras", False),
        (f".a.json.{HERE}-{os.getpid()}-0a1b2c3d.tmp", True),
        (f".a.json.00000000-{GONE}-0a1b2c3d.tmp", True),
        (".evaluation.jsonabcd1234.tmp", False),
        (".00-pgd-00000.npzab_d1234.tmp", False),
        (".best.tmp.keras", False),
        (".mine.tmp", True),
        ("a.tmp", True),
        (".a.json.tmp", True),
        (".git", True),
        ("a.json", True),
    ],
    ids=lambda value: str(value).replace(str(os.getpid()), "PID"),
)
def test_litter_is_what_dead_writers_of_ours_left(tmp_path, name, stays):
    (tmp_path / name).write_bytes(b"half")
    remove_litter(tmp_path)
    assert (tmp_path / name).exists() == stays


def test_litter_of_another_machine_goes_after_a_day(tmp_path):
    path = tmp_path / f".a.json.00000000-{GONE}-0a1b2c3d.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 90_000,) * 2)
    remove_litter(tmp_path)
    assert names(tmp_path) == []


def test_a_number_that_another_process_has_inherited_is_nobody(tmp_path):
    path = tmp_path / f".a.json.{HERE}-{os.getpid()}-0a1b2c3d.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 10 * 86_400,) * 2)
    remove_litter(tmp_path)
    assert names(tmp_path) == []


def test_vacant(tmp_path):
    assert vacant(tmp_path / "none")
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.jsonabcd1234.tmp").touch()
    assert vacant(tmp_path)
    (tmp_path / "mine.txt").touch()
    assert not vacant(tmp_path)


def refuse(handle, operation):
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.fixture(params=["system", "number", "refusing"])
def way(request, monkeypatch):
    """The ways to hold a directory: with `fcntl`, without, and where a file system has no locks."""
    if request.param == "refusing":
        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    if request.param == "number":
        monkeypatch.setattr(locks, "fcntl", None)
    return request.param


def test_a_directory_is_held_by_one(tmp_path, way):
    with locked(tmp_path):
        with pytest.raises(FileExistsError, match=str(os.getpid())), locked(tmp_path):
            pass
        with pytest.raises(FileExistsError, match=str(tmp_path)), locked(tmp_path):
            pass
    with locked(tmp_path):
        assert names(tmp_path) == [".lock"]
    assert names(tmp_path) == []


def test_an_error_within_lets_go(tmp_path, way):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


HOLDER = """
import importlib.util, sys, time, pathlib
sys.path.insert(0, {root!r})
import sharedkeras.files.locks as locks
if {way!r} == "number":
    locks.fcntl = None
if {way!r} == "refusing":
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")
    locks.fcntl.flock = refuse
with locks.locked({directory!r}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_kill_lets_go(tmp_path, way):
    source = HOLDER.format(root=str(ROOT), way=way, directory=str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(FileExistsError, match=str(holder.pid)), locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass


def test_nothing_can_be_held_where_nothing_can_be_written(tmp_path, way):
    with pytest.raises(OSError, match="none"), locked(tmp_path / "none"):
        pass
