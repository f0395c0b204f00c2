"""Subsets: the first, every so many-th, a seeded random choice."""

import numpy as np
import pytest

from sharedkeras import data

GOLDEN = [1926, 5820, 7552, 9232, 9334]


@pytest.mark.parametrize("method", ["first", "stride", "random"])
@pytest.mark.parametrize(("total", "count"), [(10, 3), (10, 10), (7, 6), (2000, 100), (1, 1)])
def test_numbers_are_distinct_ascending_and_in_range(method, total, count):
    index = data.subset(total, count, method=method, seed=3)
    assert len(index) == count
    assert (np.diff(index) > 0).all() and index[0] >= 0 and index[-1] < total
    np.testing.assert_array_equal(index, data.subset(total, count, method=method, seed=3))


@pytest.mark.parametrize("method", ["first", "stride", "random"])
@pytest.mark.parametrize("count", [None, 5, 6, 100])
def test_all_is_all(method, count):
    np.testing.assert_array_equal(data.subset(5, count, method=method), np.arange(5))


def test_what_each_takes():
    np.testing.assert_array_equal(data.subset(10, 4, method="first"), [0, 1, 2, 3])
    np.testing.assert_array_equal(data.subset(10, 4, method="stride"), [0, 2, 5, 7])
    # The same for ever, since reports name the seed only.
    np.testing.assert_array_equal(data.subset(10_000, 5), GOLDEN)


def test_a_random_choice_is_even_and_follows_its_seed():
    counts = np.zeros(50, int)
    for seed in range(400):
        counts[data.subset(50, 10, seed=seed)] += 1
    # Binomial(400, 0.2): mean 80, deviation 8; five of these either method.
    assert counts.sum() == 4000 and counts.min() > 40 and counts.max() < 120
    assert (data.subset(50, 10, seed=1) != data.subset(50, 10, seed=2)).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"method": "last"}, r"method='last'"), ({"count": 0}, "count=0"), ({"count": -1}, "count=-1")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        data.subset(**{"total": 5, "count": 2, **arguments})
