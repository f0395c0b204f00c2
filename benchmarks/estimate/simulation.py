"""Estimates replayed on full verdicts that are known, so that a thousand audits cost seconds."""

from typing import Any, NamedTuple

import numpy as np

from sharedkeras.evaluation.estimating.plan import Evidence, decide
from sharedkeras.evaluation.report.estimate import Estimate
from sharedkeras.evaluation.suites.ensemble import REST, SCREEN

NEVER = 6
"""The stage of an example that withstands everything."""
GLANCE = SCREEN[2]
"""The attack that is the beginning of another."""
_STAGES = ("clean", *SCREEN, *REST)


class Verdicts(NamedTuple):
    """What every attack does to every example.

    Attributes:
        broken_at: `(n,)` ints: 0 misclassified from the outset, 1 to 6 broken by the attack of that
            place in `apgd-ce, apgd-t-3, apgd-t-glance, apgd-t-rest, fab-t, square`, 7 by none.
        margin: `(n, 4)` floats, where the four attacks of the screen end on it.
        passes: `(n, 6)` floats, forward passes that each attack spends on it, were it run.
    """

    broken_at: Any
    margin: Any
    passes: Any

    @property
    def robust(self):
        """The share that the whole of `standard` leaves."""
        return float(np.mean(self.broken_at > NEVER))

    def replicated(self, n):
        """Return the same examples again and again, n in all."""
        rows = np.arange(n) % len(self.broken_at)
        return Verdicts(self.broken_at[rows], self.margin[rows], self.passes[rows])


def replay(verdicts, seed, question):
    """Estimate by the library's own plan, each step answered from the verdicts.

    Args:
        verdicts: `Verdicts`.
        seed: int, of the audit.
        question: `Question`.

    Returns:
        `Estimate`.
    """
    n = len(verdicts.broken_at)
    names, known = _STAGES[1:], {}
    index, clean = np.arange(n), verdicts.broken_at > 0
    standing = clean.copy()
    while True:
        parts = ({name: known[name][part] for name in known} for part in range(3))
        outcome = decide(Evidence(seed, index, clean, *parts), question)
        if isinstance(outcome, Estimate):
            return outcome
        for name in outcome.attacks:
            at = names.index(name)
            broken, margin, passes = known.setdefault(
                name, (np.zeros(n, bool), np.full(n, np.nan), np.full(n, np.nan))
            )
            rows = outcome.index[standing[outcome.index] & ~np.isfinite(margin[outcome.index])]
            # Who falls to the first targets need not fall to the first steps towards others.
            fallen = verdicts.broken_at[rows] == at + 1
            if name != GLANCE:
                fallen |= verdicts.broken_at[rows] <= at
            margin[rows] = verdicts.margin[rows, at] if at < len(SCREEN) else 0.0
            passes[rows] = verdicts.passes[rows, at]
            broken[rows[fallen]] = True
            standing[rows[fallen]] = False
