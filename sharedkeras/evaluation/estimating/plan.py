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

_NEAREST = (0.5, 0.1, 1.0)
"""Of those that APGD-CE leaves, the nearer half get APGD-T on three targets, and by a tenth more as long
as the last tenth holds one that falls: on a small CIFAR-10 network of 252 such the last lay at 0.62."""
_GLANCE = (1.0, 1.0, 1.0)
_OTHERS = (0.05, 0.05, 1.0)
"""Of those that still stand, all get the first steps towards the other targets, and the twentieth that
these bring nearest all steps, or by a twentieth more likewise. Of ten classes the other targets break
hardly anybody; of a hundred they broke four of 176 whom a ResNet-18 kept. By the margin to the three
targets before, the last of the four lay at 0.40; the first three steps towards the others broke all of
them, and of five networks more nobody who falls to them lies beyond 0.012 by where these steps end."""
_CENSUS = (0.025, 0.025, 0.15)
"""Of the survivors, likewise. What falls after the screen lies within the nearest 0.02 on the zoo's
MNIST network, within 0.08 on networks by others; where examples fall beyond 0.15, the margin does not
tell which, and the audit has to."""
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

    The screen is APGD-CE on all, APGD-T on the first three targets for the nearer half of its survivors,
    the first steps of APGD-T on the other targets for all whom these leave, and all its steps for the
    twentieth that they bring nearest to one of these; in both cases for more while the farthest screened
    still fall. The survivors nearest to the boundary are judged in full, and so is a random sample of
    the others: the m of the smallest random numbers, one for each example, so that samples nest. Looks
    at m, 2 m, 4 m and all others follow one another until the interval is narrow enough.

    How far screen and census go depends on margins and on what they found themselves, never on the
    audit, so that the audit stays a simple random sample of the others.

    Args:
        evidence: `Evidence`.
        question: `Question`.

    Returns:
        `Step` or `Estimate`.
    """
    first, nearest, glance, others = SCREEN
    if first not in evidence.broken:
        return Step((first,), evidence.index[evidence.clean])
    standing = evidence.clean & ~evidence.broken[first]
    margins = order = evidence.margin[first]
    targeted = (nearest, others)
    for names, shares in (((nearest,), _NEAREST), ((glance,), _GLANCE), (targeted, _OTHERS)):
        rows = _by_margin(evidence, standing, order)
        fallen = _broken(evidence, *names)
        tried = fallen | _seen(evidence, names[-1])
        count, settled = _extent(rows, shares, tried, fallen)
        if not settled:
            return _step(evidence, names, rows[:count], tried)
        # Who is audited is tried by these attacks too, and must not change places by that.
        screened = np.zeros_like(standing)
        screened[rows[:count]] = True
        order = _margin(evidence, names[-1])
        margins = np.where(screened, np.fmin(margins, order), margins)
        standing = standing & ~(screened & fallen)
    survivors = _by_margin(evidence, standing, margins)
    attacks = (*targeted, *REST)
    broken = _broken(evidence, *attacks, glance)
    judged = broken | _seen(evidence, attacks[-1])
    census, settled = _extent(survivors, _CENSUS, judged, broken)
    far = survivors[census:]
    far = far[np.argsort(_draws(evidence.seed, evidence.index)[far], kind="stable")]
    n = len(evidence.index)
    looks = _looks(len(far), n, question)
    if not settled:
        rows = np.concatenate([survivors[:census], far[: looks[0]]])
        return _step(evidence, attacks, rows, judged)
    for number, size in enumerate(looks):
        audited = far[:size]
        wanted = np.concatenate([survivors[:census], audited])
        if not judged[wanted].all():
            return _step(evidence, attacks, wanted, judged)
        counts = _Counts(len(survivors), census, size, broken[survivors[:census]], broken[audited])
        estimate = _estimate(evidence, counts, number, question, judged)
        if size == len(far) or round(n * (estimate.high - estimate.low)) <= _widest(n, question):
            break
    return estimate


def likely(name, standing, n, question):
    """Return how many examples the attacks after one of the screen will likely see.

    Args:
        name: of the attack of the screen that is about to run, or runs on further examples.
        standing: int, examples that stand now.
        n: int, all examples.
        question: `Question`.

    Returns:
        Dict from attack to int.
    """
    census = math.ceil(_CENSUS[0] * standing)
    audit = _looks(standing - census, n, question)[0]
    screens = [math.ceil(first * standing) for first, *_ in (_NEAREST, _GLANCE, _OTHERS)]
    # The census lies within the last part of the screen.
    screens[-1] = min(standing, screens[-1] + audit)
    seen = {**dict(zip(SCREEN[1:], screens, strict=True)), **dict.fromkeys(REST, census + audit)}
    done = SCREEN[: SCREEN.index(name) + 1]
    return {other: count for other, count in seen.items() if other not in done}


class _Counts:
    """The numbers that an estimate is made of."""

    def __init__(self, survivors, census, audited, census_broken, audit_broken):
        self.survivors, self.census, self.audited = survivors, census, audited
        self.in_census, self.in_audit = int(np.sum(census_broken)), int(np.sum(audit_broken))
        self.others = survivors - census


def _margin(evidence, name):
    """Return where that attack ended; NaN for whom it was not run on."""
    return evidence.margin.get(name, np.full(len(evidence.index), np.nan))


def _seen(evidence, name):
    """Return who was attacked by that name."""
    return np.isfinite(_margin(evidence, name))


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
    return Step(tuple(attacks), np.sort(evidence.index[rows[~seen[rows]]]))


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

    The first steps that `standard` makes once and the estimate twice count as spent only.
    What `standard` would spend on an example that was not judged in full is taken to be what the
    others cost that withstood everything.
    """
    first, nearest, _, *others = SCREEN + REST
    spent = {name: np.nan_to_num(passes) for name, passes in evidence.passes.items()}
    parts = [spent[name] for name in (nearest, *others) if name in spent]
    whole = sum(parts, np.zeros(len(evidence.index)))
    rest = np.where(judged, whole, np.max(whole[judged], initial=0.0))
    standard = np.sum(spent[first]) + np.sum(rest[evidence.clean & ~evidence.broken[first]])
    return float(sum(map(np.sum, spent.values())) / standard) if standard else 1.0
