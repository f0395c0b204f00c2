"""The outcome of an evaluation while it is made: flags, distances, pictures, seconds."""

import math

import numpy as np


class Tally:
    """Who still stands, and the worst case found for who does not.

    Args:
        examples: `Examples`.
        clean_labels: `(n,)` classes predicted without an attack.
        seconds: wall time of the pass that predicted them.
        cascade: bool, whether each attack sees only what the ones before it left standing.

    Attributes:
        flags, seconds, distance, margins, passes: dicts as a `Report` has them.
        standing: `(n,)` bool, correct under all attacks so far.
    """

    def __init__(self, examples, clean_labels, seconds, *, cascade):
        self.examples, self.cascade = examples, cascade
        self.flags = {"clean": clean_labels == examples.y}
        self.seconds, self.distance = {"clean": seconds}, {}
        self.margins, self.passes, self._broken = {}, {}, {}
        self.standing = self.flags["clean"].copy()
        self.adversarial = examples.x.copy()
        self._clean_labels, self._predicted = clean_labels, clean_labels.copy()
        self._ends, self._checkpoints = {}, {}

    @property
    def todo(self):
        """The rows that the next attack is to be run on."""
        return np.flatnonzero(self.standing if self.cascade else self.flags["clean"])

    def begin(self, name):
        """Begin an attack, or go on with one on further examples."""
        if name in self._broken:
            return
        count = len(self.standing)
        self.flags[name] = self.flags["clean"].copy()
        self.distance[name] = np.full(count, math.inf, "float32")
        self.margins[name] = np.full(count, math.nan, "float32")
        self.passes[name] = np.full(count, math.nan, "float32")
        self._broken[name] = np.zeros(count, bool)
        self.seconds[name] = 0.0

    def has_begun(self, name):
        """Tell whether an attack has been run on some examples."""
        return name in self._broken

    def add(self, name, rows, done):
        """Enter what an attack did to some rows.

        Args:
            name: of the attack, as begun.
            rows: `(batch,)` ints.
            done: what `attack_batch` returned for them.

        Returns:
            The number of rows that are broken.
        """
        broken = rows[done["success"]]
        self._broken[name][broken] = True
        self.margins[name][rows], self.passes[name][rows] = done["margin"], done["passes"]
        self.distance[name][broken] = done["distance"]
        fresh = self.standing[broken]
        self.adversarial[broken[fresh]] = done["adversarial"][fresh]
        self._predicted[broken[fresh]] = done["predicted"][fresh]
        self.standing[broken] = False
        if "end" in done:
            self._ends[name] = tuple(int(count) for count in done["end"])
        if "checkpoints" in done:
            rows = done["checkpoints"]
            self._checkpoints[name] = {int(at): tuple(map(int, found)) for at, *found in rows}
        return len(broken)

    def end(self, name, seconds):
        """End an attack, which took so many seconds, and return the accuracy that it leaves."""
        left = self.flags["clean"]
        for attack, broken in self._broken.items():
            # An attack that goes on breaks examples that later ones did not leave either.
            self.flags[attack] = (left if self.cascade else self.flags["clean"]) & ~broken
            left = self.flags[attack]
        self.seconds[name] += seconds
        return float(np.mean(self.flags[name]))

    @property
    def gradient_counts(self):
        """`(checkpoints, ends)`: by attack, the gradients of no use on its way and where it ended."""
        return self._checkpoints, self._ends

    @property
    def predictions(self):
        """The classes predicted on the clean and on the adversarial images."""
        return {"clean": self._clean_labels, "adversarial": self._predicted}
