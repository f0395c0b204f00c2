"""Intervals and the table for a terminal."""

import numpy as np
import pytest

from sharedkeras.evaluation.report import Report
from sharedkeras.evaluation.report.text import percent, text_table, wilson


@pytest.mark.parametrize("n", [1, 2, 10, 333, 10000])
def test_wilson_contains_the_share_and_stays_within_0_and_1(n):
    for s in {0, 1, n // 3, n - 1, n}:
        low, high = wilson(s, n)
        assert 0 <= low <= s / n <= high <= 1
        assert low < high
        assert wilson(n - s, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_ends_solve_its_equation():
    """The ends are the shares p at which |s/n - p| is 1.96 standard errors of p itself."""
    s, n = 239, 300
    for p in wilson(s, n):
        assert abs(s / n - p) == pytest.approx(1.959964 * np.sqrt(p * (1 - p) / n), rel=1e-6)


def test_wilson_narrows_with_n():
    widths = [np.diff(wilson(n // 2, n))[0] for n in (10, 100, 1000, 10000)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("s", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(s, n):
    with pytest.raises(ValueError, match="Received"):
        wilson(s, n)


def test_percent_has_the_digits_that_n_supports():
    assert percent(0.5634, 1000) == "56.3"
    assert percent(0.5634, 10000) == "56.34"


def test_table_is_aligned_and_complete():
    clean = np.array([True] * 9 + [False])
    a = np.array([True] * 5 + [False] * 5)
    report = Report(flags={"clean": clean, "a-long-name\n": a}, seconds={"a-long-name\n": 1234.56})
    lines = text_table(report).split("\n")
    assert lines[0] == "10 examples, each attack alone"
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert lines[3].split() == ["clean", "90.0", "59.6", "-", "98.2", "-"]
    assert lines[4].split() == ["a-long-name?", "50.0", "23.7", "-", "76.3", "1234.6"]
    assert lines[-2].startswith("worst case") and "50.0" in lines[-2]
    assert lines[-1].startswith("Verdict: trustworthy.")
    assert text_table(report).isascii()
