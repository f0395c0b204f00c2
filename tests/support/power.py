"""A power cut: what was not written to the disk is gone."""

import contextlib
import os
import pathlib
import shutil

from support.failing_disk import Killed, disk


class _Node:
    """What the disk holds of a file, or of a directory."""

    def __init__(self, is_directory):
        self.data = None if is_directory else b""
        self.names = {}


class _Platter:
    """Keeps what reached the disk: contents by `fsync` of a file, names by `fsync` of a directory."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.nodes = {}
        self.sync(self.root)
        for path in self.root.rglob("*"):
            self.sync(path)

    def sync(self, path):
        """Note what an `fsync` writes."""
        node = self._node(path)
        if os.path.isdir(path):
            node.names = {name: self._node(os.path.join(path, name)) for name in os.listdir(path)}
        else:
            node.data = pathlib.Path(path).read_bytes()

    def forget(self, path):
        """Note that a file or directory is about to go, so that its number may become another's."""
        with contextlib.suppress(FileNotFoundError):
            self.nodes.pop(os.lstat(path).st_ino, None)

    def cut(self, names_are_lost):
        """Leave in the directory what the disk holds.

        Args:
            names_are_lost: bool, whether a name is there only where its directory was synced; else all
                are there, and only contents are lost. File systems do the one or the other.
        """
        node = self._node(self.root)
        kept = list(self._held(pathlib.Path(), node) if names_are_lost else self._seen())
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, data in kept:
            target = self.root / path
            target.mkdir() if data is None else target.write_bytes(data)

    def _node(self, path):
        return self.nodes.setdefault(os.stat(path).st_ino, _Node(os.path.isdir(path)))

    def _held(self, place, node):
        for name, inner in node.names.items():
            yield place / name, inner.data
            yield from self._held(place / name, inner)

    def _seen(self):
        for path in sorted(self.root.rglob("*")):
            yield path.relative_to(self.root), self._node(path).data


@contextlib.contextmanager
def cut(monkeypatch, root, last=-1, *, names_are_lost=True):
    """Let `last` operations through (all if negative), end the process, and cut the power.

    Yields:
        List of `(operation, path)` that were done.
    """
    platter = _Platter(root)
    fsync = os.fsync

    def noted(handle):
        fsync(handle)
        platter.sync(os.readlink(f"/proc/self/fd/{handle}"))

    def freeing(function, number):
        def freed(*arguments, dir_fd=None, **keywords):
            place = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            platter.forget(os.path.join(place, arguments[number]))
            options = keywords if dir_fd is None else {**keywords, "dir_fd": dir_fd}
            return function(*arguments, **options)

        return freed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        for name, number in (("unlink", 0), ("rmdir", 0), ("replace", 1)):
            patch.setattr(os, name, freeing(getattr(os, name), number))
        try:
            with disk(monkeypatch, last) as done, contextlib.suppress(Killed):
                yield done
        finally:
            platter.cut(names_are_lost)
