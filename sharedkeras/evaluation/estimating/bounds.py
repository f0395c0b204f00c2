"""Exact bounds on how many of a finite population have a property, from a sample of it."""

import functools

from scipy import stats

# An evaluation asks again at every step, a simulation at every redraw.
_kept = functools.lru_cache(maxsize=4096)


@_kept
def largest_count(population, sample, found, error):
    """Return the largest number of examples with the property that the sample does not exclude.

    It is the largest D with P(X <= found | D) > error, where X, the number of those in the sample, is
    hypergeometric. The true number exceeds it with a probability of at most `error`.

    Args:
        population: int, N.
        sample: int in [0, N], drawn without replacement.
        found: int, examples of the sample that have the property.
        error: float in (0, 1).

    Returns:
        Int in [found, N - sample + found].
    """
    low, high = found, population - sample + found
    while low < high:  # P(X <= found | D) falls with D.
        middle = (low + high + 1) // 2
        if stats.hypergeom.cdf(found, population, middle, sample) > error:
            low = middle
        else:
            high = middle - 1
    return low


@_kept
def smallest_count(population, sample, found, error):
    """Return the smallest number of examples with the property that the sample does not exclude.

    It is the smallest D with P(X >= found | D) > error; see `largest_count`, also for the arguments.

    Returns:
        Int in [found, N - sample + found].
    """
    low, high = found, population - sample + found
    while low < high:  # P(X >= found | D) rises with D.
        middle = (low + high) // 2
        if stats.hypergeom.sf(found - 1, population, middle, sample) > error:
            high = middle
        else:
            low = middle + 1
    return low


@_kept
def least_sample(population, most, error):
    """Return the smallest sample that, without a find, excludes more than `most` in the population.

    Args:
        population: int, N.
        most: int, at least 0.
        error: float in (0, 1).

    Returns:
        Int in [0, N].
    """
    low, high = 0, population
    while low < high:
        middle = (low + high) // 2
        if largest_count(population, middle, 0, error) <= most:
            high = middle
        else:
            low = middle + 1
    return low
