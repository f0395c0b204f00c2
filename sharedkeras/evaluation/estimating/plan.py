"""What an estimate does next, as a pure function of what is known of each example."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.arguments import need_between
from sharedkeras.evaluation.estimating.bounds import largest_count, least_sample, smallest_count
from sharedkeras.evaluation.report.estimate import Estimate, Step
from sharedkeras.evaluation.suites.ensemble import REST, SCREEN
from sharedkeras.math import random

_SCREEN = (0.5, 0.1, 1.0)
"""Of those that APGD-CE leaves, the nearer half get APGD-T on three targets, and by a tenth more as long
as the last tenth holds one that falls. On a small CIFAR-10 network of 252 such the last lay at 0.62."""
_CENSUS = (0.05, 0.025, 0.15)
"""Of the survivors, likewise. On networks by others what falls after the screen lies within the nearest
0.08; where examples fall beyond 0.15, the margin does not tell which, and the audit has to."""
_LOW_SHARES = (0.80, 0.06, 0.04)
_HIGH_SHARES = (0.04, 0.03, 0.03)
"""Of the error probability, for both ends of the interval at the first, second and third look. Most of
it goes where it is needed nearly always: to exclude at the first look that more fall than were seen."""
_LEAST_AUDIT = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """How sure the estimate is to be.

    Args:
        precision: the largest width of the interval, a fraction of all examples, in (0, 1].
        confidence: in (0, 1).

    Raises:
        ValueError: if one is out of range.
    """

    precision: float
    confidence: float

    def __post_init__(self):
        """Check the ranges."""
        for name in ("precision", "confidence"):
            value = getattr(self, name)
            need_between(0, 1, **{name: value})
            if value == 0 or (name == "confidence" and value == 1):
                ends = "(0, 1)" if name == "confidence" else "(0, 1]"
                raise ValueError(f"`{name}` must be a fraction in {ends}. Received: {name}={value}")
            object.__setattr__(self, name, float(value))


class Evidence(NamedTuple):
    """What is known so far.

    Attributes:
        seed: int.
        index: `(n,)` ints, the examples' numbers.
        clean: `(n,)` bool, correct without an attack.
        broken: dict from attack to `(n,)` bool, broken by it.
        margin: dict from attack to `(n,)` float, the true class's logit less the largest other one where
            the attack ended; NaN for an example that it was not run on.
        passes: dict from attack to `(n,)` float, forward passes spent.
    """

    seed: int
    index: Any
    clean: Any
    broken: dict
    margin: dict
    passes: dict


def decide(evidence, question):
    """Return the next step, or the estimate once nothing is left to do.

    The screen is APGD-CE on all and APGD-T on the first three targets for the nearer half of its
    survivors, or more of them while the farthest screened still fall. The survivors nearest to the
    boundary are judged in full, and so is a random sample of the others: the m of the smallest random
    numbers, one for each example, so that samples nest. Looks at m, 2 m, 4 m and all others follow one
    another until the interval is as narrow as asked.

    How far screen and census go depends on margins and on what they found themselves, never on the
    audit, so that the audit stays a simple random sample of the others.

    Args:
        evidence: `Evidence`.
        question: `Question`.

    Returns:
        `Step` or `Estimate`.
    """
    first, second = SCREEN
    if first not in evidence.broken:
        return Step((first,), evidence.index[evidence.clean])
    standing = evidence.clean & ~evidence.broken[first]
    margins = evidence.margin[first]
    rows = _by_margin(evidence, standing, margins)
    tried, fallen = _seen(evidence, second), _broken(evidence, second)
    count, settled = _extent(rows, _SCREEN, tried, fallen)
    if not settled:
        return _step(evidence, (second,), rows[:count], tried)
    # Who is audited is tried by the second attack too, and must not change places by that.
    screened = np.zeros_like(standing)
    screened[rows[:count]] = True
    if screened.any():
        margins = np.where(screened, np.fmin(margins, evidence.margin[second]), margins)
    survivors = _by_margin(evidence, standing & ~(screened & fallen), margins)
    judged, broken = fallen | _seen(evidence, REST[0]), _broken(evidence, second, *REST)
    census, settled = _extent(survivors, _CENSUS, judged, broken)
    others = survivors[census:]
    others = others[np.argsort(_draws(evidence.seed, evidence.index)[others], kind="stable")]
    n = len(evidence.index)
    looks = _looks(len(others), n, question)
    if not settled:
        rows = np.concatenate([survivors[:census], others[: looks[0]]])
        return _step(evidence, (second, *REST), rows, judged)
    for number, size in enumerate(looks):
        audited = others[:size]
        wanted = np.concatenate([survivors[:census], audited])
        if not judged[wanted].all():
            return _step(evidence, (second, *REST), wanted, judged)
        counts = _Counts(len(survivors), census, size, broken[survivors[:census]], broken[audited])
        estimate = _estimate(evidence, counts, number, question, judged)
        if size == len(others) or round(n * (estimate.high - estimate.low)) <= _widest(n, question):
            break
    return estimate


def likely(name, standing, n, question):
    """Return how many examples the attacks after one of the screen will likely see.

    Args:
        name: of the attack that is about to run.
        standing: int, examples that stand now.
        n: int, all examples.
        question: `Question`.

    Returns:
        Dict from attack to int; empty where the rest is known better.
    """
    if name not in SCREEN:
        return {}
    census = math.ceil(_CENSUS[0] * standing)
    rest = census + _looks(standing - census, n, question)[0]
    screen = {SCREEN[1]: math.ceil(_SCREEN[0] * standing)} if name == SCREEN[0] else {}
    return {**screen, **dict.fromkeys(REST, rest)}


class _Counts:
    """The numbers that an estimate is made of."""

    def __init__(self, survivors, census, audited, census_broken, audit_broken):
        self.survivors, self.census, self.audited = survivors, census, audited
        self.in_census, self.in_audit = int(np.sum(census_broken)), int(np.sum(audit_broken))
        self.others = survivors - census


def _seen(evidence, name):
    """Return who was attacked by that name."""
    if name not in evidence.margin:
        return np.zeros_like(evidence.clean)
    return np.isfinite(evidence.margin[name])


def _broken(evidence, *names):
    """Return who was broken by one of these attacks."""
    found = [evidence.broken[name] for name in names if name in evidence.broken]
    return np.logical_or.reduce([np.zeros_like(evidence.clean), *found])


def _by_margin(evidence, standing, margins):
    """Return the rows of standing examples, the nearest to the boundary first, ties by number."""
    rows = np.flatnonzero(standing)
    return rows[np.lexsort((evidence.index[rows], margins[rows]))]


def _draws(seed, index):
    """Return a random 32-bit number for each example, which follows from the seed and its number."""
    return _drawn(seed, np.ascontiguousarray(index, "int32").tobytes())


@functools.lru_cache(maxsize=2048)  # Each step asks again, a simulation for a thousand seeds.
def _drawn(seed, index):
    key = random.key(seed, "audit")
    numbers = ops.convert_to_tensor(np.frombuffer(index, "int32"))
    return ops.convert_to_numpy(random.bits(key, numbers, 1))[:, 0]


def _extent(rows, shares, seen, broken):
    """Return how many of the nearest are taken so far, and whether that is the end.

    Args:
        rows: rows of examples, the nearest first.
        shares: `(first, more, largest)`: the share that is taken, by how much it grows as long as the
            last such part of it holds a broken example, and where it ends.
        seen: `(n,)` bool, who was attacked.
        broken: `(n,)` bool, who was broken.
    """
    count, more, largest = (math.ceil(share * len(rows)) for share in shares)
    while True:
        if not seen[rows[:count]].all():
            return count, False
        if count >= largest or not broken[rows[max(0, count - more) : count]].any():
            return count, True
        count = min(count + more, largest)


def _looks(others, n, question):
    """Return the sizes of the audit at each look, the last of all others."""
    most = _widest(n, question)
    if most == 0:
        return [others]  # Finer than one example: exact.
    first = least_sample(others, most, _LOW_SHARES[0] * (1 - question.confidence))
    first = min(others, max(first, _LEAST_AUDIT))
    sizes = [first * 2**look for look in range(len(_LOW_SHARES))]
    return [size for size in sizes if size < others] + [others]


def _widest(n, question):
    return math.floor(question.precision * n + 1e-9)


def _step(evidence, attacks, rows, seen):
    # An attack of a step is run on those of its examples that it has not seen.
    return Step(attacks, np.sort(evidence.index[rows[~seen[rows]]]))


def _estimate(evidence, counts, number, question, judged):
    n, error = len(evidence.index), 1 - question.confidence
    least = most = expected = counts.in_audit
    if counts.audited < counts.others:
        sample = counts.others, counts.audited, counts.in_audit
        most = largest_count(*sample, _LOW_SHARES[number] * error)
        least = smallest_count(*sample, _HIGH_SHARES[number] * error)
        expected = counts.others * counts.in_audit / counts.audited
    standing = counts.survivors - counts.in_census
    return Estimate(
        value=min(max(standing - expected, standing - most), standing - least) / n,
        low=(standing - most) / n,
        high=(standing - least) / n,
        confidence=question.confidence,
        precision=question.precision,
        survivors=counts.survivors,
        census=counts.census,
        audited=counts.audited,
        broken_in_census=counts.in_census,
        broken_in_audit=counts.in_audit,
        cost=_cost(evidence, judged),
    )


def _cost(evidence, judged):
    """Return the passes spent, as a share of those of `standard` on the same examples.

    What `standard` would spend on an example that was not judged in full is taken to be what the
    others cost that withstood everything.
    """
    first, *others = SCREEN + REST
    spent = {name: np.nan_to_num(passes) for name, passes in evidence.passes.items()}
    whole = sum((spent[name] for name in others if name in spent), np.zeros(len(evidence.index)))
    rest = np.where(judged, whole, np.max(whole[judged], initial=0.0))
    standard = np.sum(spent[first]) + np.sum(rest[evidence.clean & ~evidence.broken[first]])
    return float(sum(map(np.sum, spent.values())) / standard) if standard else 1.0
