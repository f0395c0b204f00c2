"""Which attack an estimate runs next, and on whom."""

import numpy as np

from sharedkeras.evaluation.estimating.evidence import evidence_of
from sharedkeras.evaluation.estimating.plan import decide, likely
from sharedkeras.evaluation.report.estimate import Estimate
from sharedkeras.evaluation.suites.ensemble import SCREEN


class EstimateSchedule:
    """Yields which attack runs next on which examples, until the interval is narrow enough.

    Args:
        question: `Question`.
        seed: int.
        steps: tuple of `Step`s to be done, where a slice cannot decide by itself; None decides.
    """

    def __init__(self, question, seed, steps=None):
        self._question, self._seed, self._steps = question, seed, steps

    def __call__(self, attacks, tally):
        """Yield `(name, rows, later)`, again and again; see `judge`."""
        for step in self._decided(tally) if self._steps is None else self._steps:
            rows = np.flatnonzero(np.isin(tally.examples.index, step.index))
            for at, name in enumerate(step.attacks):
                new = tally.standing[rows]
                if tally.has_begun(name):
                    new &= ~np.isfinite(tally.margins[name][rows])
                    if not new.any():
                        continue
                later = dict.fromkeys(step.attacks[at + 1 :], int(np.sum(tally.standing[rows])))
                if self._steps is None and set(step.attacks) <= set(SCREEN):
                    later |= likely(
                        name, int(np.sum(tally.standing)), len(tally.standing), self._question
                    )
                yield name, rows[new], later

    def _decided(self, tally):
        while True:
            evidence = evidence_of(
                self._seed, tally.examples.index, tally.flags, tally.margins, tally.passes
            )
            step = decide(evidence, self._question)
            if isinstance(step, Estimate):
                return
            yield step
