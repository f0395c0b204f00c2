"""Finished batches of an evaluation on disk, so that a killed one can go on."""

import io
import json
import pathlib
import zipfile

import numpy as np

from sharedkeras.files import write_atomically


class Journal:
    """A directory with one file for each finished batch.

    A batch costs one file of its own size, written atomically: what a kill costs is the batch at work.

    Args:
        path: directory, made if missing; None keeps nothing.
        fingerprint: function that gives a string for everything the verdicts depend on.

    Raises:
        ValueError: if the directory belongs to another evaluation.
    """

    def __init__(self, path, fingerprint):
        self._path = None if path is None else pathlib.Path(path)
        if self._path is None:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        head = self._path / "evaluation.json"
        mine = fingerprint()
        if head.exists():
            try:
                theirs = json.loads(head.read_text())["fingerprint"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{head} is damaged; remove the directory to start afresh.") from error
            if theirs != mine:
                raise ValueError(
                    "`resume_from` holds another evaluation: other images, weights, attacks or seed. "
                    f"Name another directory. Received: resume_from={self._path}"
                )
        elif any(self._path.iterdir()):
            raise ValueError(
                "`resume_from` must be a new or empty directory, or one of the same evaluation. "
                f"Received: resume_from={self._path}"
            )
        else:
            write_atomically(head, json.dumps({"fingerprint": mine}).encode())

    def read(self, key, index):
        """Return what was written under a key, or None where there is nothing usable.

        Args:
            key: str.
            index: `(batch,)` numbers of the examples; an entry for others is not used.
        """
        if self._path is None:
            return None
        try:
            # Opened here, since NumPy leaves a damaged file open.
            with open(self._path / f"{key}.npz", "rb") as file, np.load(file) as entry:
                done = dict(entry)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        return done if np.array_equal(done.pop("index"), index) else None

    def write(self, key, index, done):
        """Keep a finished batch.

        Args:
            key: str.
            index: `(batch,)` numbers of the examples.
            done: dict of arrays.
        """
        if self._path is None:
            return
        buffer = io.BytesIO()
        np.savez(buffer, index=index, **done)
        write_atomically(self._path / f"{key}.npz", buffer.getvalue())
