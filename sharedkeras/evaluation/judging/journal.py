"""Finished work of an evaluation on disk, so that a killed one can go on."""

import base64
import contextlib
import json
import pathlib
import re

import numpy as np

from sharedkeras.evaluation.judging import identity, sealed
from sharedkeras.files import locked, make_directory, parse_json, remove_litter, write_atomically

FORMAT = "sharedkeras-journal/2"
_HEAD = "evaluation.json"
_ENTRY = re.compile(r"[0-9a-f]+-.*\.npz")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@contextlib.contextmanager
def hold(path):
    """Hold a directory of finished work, made if missing, for one process.

    Args:
        path: of the directory; None holds nothing.

    Yields:
        None.

    Raises:
        FileExistsError: if a process works in it already.
        ValueError: if it is a file.
    """
    if path is None:
        yield
        return
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(
            f"`resume_from` must be a directory, and is a file. Received: resume_from={path}"
        )
    make_directory(path)
    with locked(path):
        yield


class Journal:
    """A directory of finished examples, which belongs to one network, data set and seed.

    The attacks are not part of what a directory belongs to: each entry says which attack, with which
    settings, was run on which examples, so that a longer list of attacks or another batch size finds
    what is done. Entries are sealed: each holds a hash of its content chained to the evaluation's
    identity, and one that is damaged or of another evaluation counts as not there. Every file is
    written beside its place and renamed, and `hold` keeps other processes out.

    Args:
        path: directory that is there and held; None keeps nothing.
        fingerprint: function that gives the identity: a dict from a part's name to a JSON value that
            is equal only for equal parts.
        probe: function that gives the network's logits `(p, K)` on probe images; None compares none.
        tolerance: float, the largest difference of two passes over the probe images, as a share of the
            largest logit.
        known: bool, whether the fingerprint alone tells the network. Then entries outlive damage to
            the file that holds it; otherwise the logits that it holds are part of what they belong to.

    Raises:
        ValueError: if the directory belongs to another evaluation, with what differs, or holds other
            files.
    """

    def __init__(self, path, fingerprint, probe=None, tolerance=1e-3, known=False):
        self._path = None if path is None else pathlib.Path(path)
        self._tolerance = tolerance
        if self._path is None:
            return
        mine = fingerprint()
        logits = None if probe is None else np.asarray(probe(), "float32")
        remove_litter(self._path)
        head = self._read_head()
        if head is None:
            head = _head(mine, logits)
            write_atomically(self._path / _HEAD, json.dumps(head))
        self._check_same(head, mine, logits)
        self._seal = identity.digest(head["identity"]) if known else head["seal"]

    def write(self, key, index, done):
        """Keep finished examples.

        Args:
            key: str of hexadecimal digits, then any; the attack's key and what tells this entry from
                others.
            index: `(batch,)` numbers of the examples.
            done: dict of arrays: `success` `(batch,)` bool, `adversarial` of the successes, and more.
        """
        if self._path is not None:
            data = sealed.pack({"index": np.asarray(index), **done}, self._chained(key))
            write_atomically(self._path / f"{key}.npz", data)

    def read(self, key, index):
        """Return what is kept under a key, for the examples asked for.

        Args:
            key: str, with which the keys of the entries begin.
            index: `(n,)` numbers of the examples.

        Returns:
            List of dicts as they were written, the latest last, without those that hold none of the
            examples; None if there is none. What cannot be read, or is not what was written, is not
            there.
        """
        if self._path is None:
            return None
        entries = []
        for path in sorted(self._path.glob(f"{key}*.npz"), key=_age):
            entry = sealed.unpack(path, self._chained(path.stem))
            if entry is not None and np.isin(entry.get("index", ()), index).any():
                entries.append(entry)
        return entries or None

    def _chained(self, key):
        return f"{self._seal}/{key}"

    def _read_head(self):
        """Return the directory's head, or None where it is to be written: without one or damaged."""
        path = self._path / _HEAD
        if path.exists():
            data = path.read_bytes()
            head = _parsed(data)
            if head is not None and head["format"] == FORMAT:
                return head
            if head is not None or not _may_be_ours(data):
                raise ValueError(
                    "`resume_from` must be a directory that this version of sharedkeras wrote; its "
                    f"{_HEAD} is of another kind. Name another directory. "
                    f"Received: resume_from={self._path}"
                )
        names = sorted(p.name for p in self._path.iterdir() if not p.name.startswith("."))
        strange = [name for name in names if name != _HEAD and not _ENTRY.fullmatch(name)]
        if strange:
            raise ValueError(
                "`resume_from` must be a new or empty directory, or one of the same evaluation. "
                f"Received: resume_from={self._path}, which holds {strange[0]!r}"
            )
        return None

    def _check_same(self, head, mine, logits):
        differing = _differences(head["identity"], mine)
        if not (differing or logits is None or _alike(head["probe"], logits, self._tolerance)):
            differing = ["logits of the probe images"]
        if differing:
            parts = ", ".join(differing)
            raise ValueError(
                "`resume_from` must be a directory of this evaluation, and it holds another evaluation, "
                f"which differs in: {parts}. Name another directory. "
                f"Received: resume_from={self._path}"
            )


def _age(path):
    return path.stat().st_mtime_ns, path.name


def _head(mine, logits):
    probe = None
    if logits is not None:
        text = base64.b64encode(np.ascontiguousarray(logits, "<f4").tobytes()).decode()
        probe = {"shape": list(logits.shape), "float32": text}
    # Read back, so that it is compared as it will be read.
    head = json.loads(json.dumps({"format": FORMAT, "identity": mine, "probe": probe}))
    return {**head, "seal": _head_seal(head)}


def _parsed(data):
    """Return the head that is written there, of whatever version, or None."""
    try:
        head = parse_json(data, where=_HEAD, what="the head of a journal")
    except ValueError:
        return None
    return head if head.get("seal") == _head_seal(head) else None


def _may_be_ours(data):
    """Tell whether these are the remains of a head: cut short, emptied or with wrong bits."""
    begin = json.dumps({"format": FORMAT})[:-1].encode()
    return begin[: len(data)] == data[: len(begin)] or b'"identity"' in data or not data.strip(b"\0")


def _head_seal(head):
    return identity.digest({name: head.get(name) for name in ("format", "identity", "probe")})


def _alike(probe, logits, tolerance):
    try:
        values = np.frombuffer(base64.b64decode(probe["float32"]), "<f4").reshape(probe["shape"])
    except (TypeError, KeyError, ValueError):
        return False
    if values.shape != logits.shape:
        return False
    gap, scale = (np.max(np.abs(a), initial=0.0) for a in (values - logits, values))
    return bool(gap <= tolerance * scale)


def _differences(theirs, mine):
    if not isinstance(theirs, dict) or not isinstance(mine, dict):
        return [] if theirs == mine else ["what is evaluated"]
    names = [name for name in {**mine, **theirs} if theirs.get(name) != mine.get(name)]
    return [_difference(name, theirs.get(name), mine.get(name)) for name in names]


def _difference(name, theirs, mine):
    if any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (theirs, mine)):
        return name
    return f"{name} ({theirs!r} there, {mine!r} here)"
