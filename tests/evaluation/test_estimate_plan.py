"""The statistics of an estimate, on verdicts that are made up and so known."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.estimate.simulation import NEVER, Verdicts, replay
from sharedkeras.evaluation.estimating.bounds import largest_count, least_sample, smallest_count
from sharedkeras.evaluation.estimating.plan import Question


def _at_most(population, marked, sample, found):
    """P(X <= found) by counting subsets."""
    ways = sum(
        math.comb(marked, k) * math.comb(population - marked, sample - k) for k in range(found + 1)
    )
    return ways / math.comb(population, sample)


@pytest.mark.parametrize(("population", "sample"), [(12, 5), (9, 1), (7, 7), (10, 0)])
@pytest.mark.parametrize("error", [0.04, 0.3])
def test_bounds_against_counting(population, sample, error):
    for found in range(sample + 1):
        possible = range(found, population - sample + found + 1)
        above = [d for d in possible if _at_most(population, d, sample, found) > error]
        below = [d for d in possible if 1 - _at_most(population, d, sample, found - 1) > error]
        assert largest_count(population, sample, found, error) == max(above, default=found)
        assert smallest_count(population, sample, found, error) == min(below, default=possible[-1])
    for most in range(population):
        size = least_sample(population, most, error)
        assert largest_count(population, size, 0, error) <= most
        assert size == 0 or largest_count(population, size - 1, 0, error) > most


PASSES = {"ce": 200.0, "three": 600.0, "glance": 70.0, "rest": 1200.0, "fab": 2700.0, "square": 5000.0}


def _verdicts(n, *, robust=0.5, late=0, among=1.0, seed=0):
    """Make up verdicts: `late` points fall to the last attack, among the nearest share of survivors."""
    rng = np.random.default_rng(seed)
    count = int(n * robust)
    order = rng.permutation(n)
    survivors, others = order[:count], order[count:]
    broken_at = np.zeros(n, int)
    broken_at[others] = rng.choice([0, 1], size=len(others))
    broken_at[survivors] = NEVER + 1
    margin = np.full((n, 4), -0.1)
    margin[survivors] = np.sort(rng.exponential(size=count))[:, None]
    fallen = rng.choice(int(among * count), late, replace=False)
    broken_at[survivors[fallen]] = NEVER
    return Verdicts(broken_at, margin, np.tile([*PASSES.values()], (n, 1)))


@pytest.mark.parametrize(
    ("n", "precision", "most"), [(10_000, 0.002, 0.25), (1000, 0.01, 0.37), (1000, 0.02, 0.26)]
)
def test_cost_where_nobody_falls(n, precision, most):
    verdicts = _verdicts(n)
    estimate = replay(verdicts, 0, Question(precision=precision, confidence=0.95))
    assert estimate.value == estimate.high == verdicts.robust
    assert 0 < estimate.high - estimate.low <= precision + 1e-12
    assert estimate.cost <= most


def _nearest_first(verdicts):
    """Return the rows, those first whom APGD-CE leaves nearest to the boundary."""
    return np.argsort(np.where(verdicts.broken_at > 1, verdicts.margin[:, 0], np.inf))


PRECISE = Question(precision=0.01, confidence=0.95)


def _all_fall_to_the_screen(verdicts, survivors):
    """Assert that census and audit find nobody, whatever the audit, and return the cost."""
    found = [replay(verdicts, seed, PRECISE) for seed in range(20)]
    assert {e.survivors for e in found} == {survivors}
    assert {(e.broken_in_census, e.broken_in_audit) for e in found} == {(0, 0)}
    assert all(e.value == e.high == verdicts.robust for e in found)
    return found[0].cost


def _cost_with_more_screened(share):
    """Return the cost where nobody falls, and that of the other targets for a further share.

    They take 1,200 of the 9,700 passes that a survivor costs, and are spent on the audited in any case.
    """
    without = replay(_verdicts(1000, robust=0.5), 0, PRECISE)
    return without.cost + share * (1 - without.audited / without.survivors) * 1200 / 9700


def test_screen_follows_those_that_fall_to_it():
    verdicts = _verdicts(1000, robust=0.5)
    nearest = _nearest_first(verdicts)
    verdicts.broken_at[nearest[200:320:10]] = 2  # Until 0.62 of 500 whom APGD-CE leaves.
    # Screened are 0.5, 0.6, 0.7, and the last tenth is empty at 0.8.
    _all_fall_to_the_screen(verdicts, survivors=488)


def test_screen_goes_on_to_the_other_targets_where_these_break_some():
    verdicts = _verdicts(1000, robust=0.5)
    nearest = _nearest_first(verdicts)
    verdicts.broken_at[nearest[[20, 45, 60, 80]]] = 4  # Until 0.16 of 500.
    # The other targets are tried on 0.05, 0.1, 0.15, 0.2, and the last twentieth is empty at 0.25.
    cost = _all_fall_to_the_screen(verdicts, survivors=496)
    # Four twentieths more.
    assert cost == pytest.approx(_cost_with_more_screened(0.2), abs=0.002)


def test_a_glance_tells_who_is_near_to_the_other_targets():
    verdicts = _verdicts(1000, robust=0.5)
    nearest = _nearest_first(verdicts)
    fallen = nearest[[30, 260, 340, 490]]  # By the other margins they lie anywhere.
    verdicts.broken_at[fallen] = [4, 4, 3, 4]
    verdicts.margin[fallen, 2] = [0.002, 0.001, -0.1, 0.003]
    cost = _all_fall_to_the_screen(verdicts, survivors=496)
    # The first twentieth holds all, and a second one nobody.
    assert cost == pytest.approx(_cost_with_more_screened(0.05), abs=0.002)


def test_whom_the_screen_does_not_reach_the_audit_finds():
    verdicts = _verdicts(1000, robust=0.5)
    nearest = _nearest_first(verdicts)
    verdicts.broken_at[nearest[300:500:10]] = 2  # 20 of them, none of the nearer half.
    question = Question(precision=0.02, confidence=0.95)
    found = [replay(verdicts, seed, question) for seed in range(40)]
    assert {e.survivors for e in found} == {500}
    assert max(e.broken_in_audit for e in found) > 2
    held = [e.low - 1e-9 <= verdicts.robust <= e.high + 1e-9 for e in found]
    assert sum(held) >= 34  # A coin of 0.95 gives fewer once in a thousand tries.


def test_census_follows_those_that_fall_near_the_boundary():
    verdicts = _verdicts(2000, robust=0.9, late=60, among=0.1)
    estimate = replay(verdicts, 0, Question(precision=0.01, confidence=0.95))
    assert estimate.broken_in_census == 60
    assert estimate.value == pytest.approx(verdicts.robust)
    assert 0.1 < estimate.census / estimate.survivors <= 0.15


@pytest.mark.parametrize(("late", "precision"), [(4, 0.03), (15, 0.03), (40, 0.1)])
def test_coverage_where_points_fall_anywhere(late, precision):
    verdicts = _verdicts(400, late=late)
    question = Question(precision=precision, confidence=0.9)
    found = [replay(verdicts, seed, question) for seed in range(60)]
    held = [e.low - 1e-9 <= verdicts.robust <= e.high + 1e-9 for e in found]
    # A coin of 0.9 gives fewer than 47 of 60 less than once in two hundred tries.
    assert sum(held) >= 47
    assert len({e.audited for e in found}) > 1 or found[0].judged == found[0].survivors
    assert all(e.high - e.low <= precision + 1e-9 for e in found)
    # Whoever stops at the first look that suffices is a little off on average.
    assert abs(np.mean([e.value for e in found]) - verdicts.robust) < precision / 5


def test_more_that_fall_cost_more():
    question = Question(precision=0.02, confidence=0.95)
    costs = [
        np.mean([replay(_verdicts(600, late=late), seed, question).cost for seed in range(10)])
        for late in (0, 6, 60)
    ]
    assert costs[0] < costs[1] < costs[2]


def test_audits_nest_and_depend_on_the_seed():
    verdicts = _verdicts(1000)
    wide, narrow = (replay(verdicts, 3, Question(precision=p, confidence=0.95)) for p in (0.02, 0.005))
    assert wide.audited < narrow.audited
    far = _verdicts(1000, late=30)
    seeds = [replay(far, seed, Question(precision=0.05, confidence=0.95)) for seed in range(8)]
    assert len({e.broken_in_audit for e in seeds}) > 1


def test_few_survivors_are_all_judged():
    for robust, late in itertools.product((0.0, 0.003, 0.01), (0, 1)):
        verdicts = _verdicts(1000, robust=robust, late=min(late, int(1000 * robust)))
        estimate = replay(verdicts, 0, Question(precision=0.0005, confidence=0.95))
        assert estimate.low == estimate.value == estimate.high == pytest.approx(verdicts.robust)
        assert estimate.judged == estimate.survivors
