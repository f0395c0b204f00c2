"""A disk that fails at a given operation, and a process that is killed there."""

import builtins
import contextlib
import os


class Killed(BaseException):
    """The process is no more: no operation after this one reaches the disk."""


class _Disk:
    """Counts operations, and from a number on lets none of them through."""

    def __init__(self, last, error):
        self.last = last
        self.error = error
        self.done = []
        self.dead = False

    def wrap(self, name, function):
        def guarded(*arguments, **keywords):
            if self.dead or len(self.done) == self.last:
                self.dead = self.error is Killed
                self.last = -1
                raise self.error
            self.done.append((name, str(arguments[0])))
            return function(*arguments, **keywords)

        return guarded

    def open(self, original):
        guarded = self.wrap("open", original)

        def choose(file, mode="r", *arguments, **keywords):
            # Only files by name: Keras and Python open others by number.
            writes = set(mode) & set("wxa+") and isinstance(file, str | os.PathLike)
            return (guarded if writes else original)(file, mode, *arguments, **keywords)

        return choose


@contextlib.contextmanager
def disk(monkeypatch, last=-1, error=Killed):
    """Let `last` operations through (all if negative), then raise; of a kill nothing follows.

    Yields:
        List of `(operation, path)` that were done.
    """
    failing = _Disk(last, error)
    with monkeypatch.context() as patch:
        for name in ("replace", "fsync", "chmod", "unlink", "remove", "mkdir"):
            patch.setattr(os, name, failing.wrap(name, getattr(os, name)))
        patch.setattr(builtins, "open", failing.open(builtins.open))
        yield failing.done
