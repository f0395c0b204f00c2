"""The spectral Stein gradient estimator against its definition, and on samples with a known density."""

import numpy as np
import pytest
from keras import ops

from sharedkeras.math import kernels
from sharedkeras.math.stein import spectral_score


def numpy(x):
    return ops.convert_to_numpy(x)


def by_definition(x, share):
    """Computes the estimator as Shi et al. write it: eigenfunctions, their coefficients, their sum."""
    m, d = x.shape
    pairs = [np.linalg.norm(x[i] - x[j]) for i in range(m) for j in range(i)]
    width = np.median(pairs)

    def k(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * width**2))

    gram = np.array([[k(a, b) for b in x] for a in x])
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(-values)
    reached = np.cumsum(values[order]) / values.sum()
    kept = order[: 1 + np.searchsorted(reached, share)]
    score = np.zeros((m, d))
    for j in kept:
        psi = np.sqrt(m) / values[j] * gram @ vectors[:, j]
        slope = np.zeros((m, d))  # Of psi_j, at each sample.
        for i in range(m):
            for n in range(m):
                slope[i] += -(x[i] - x[n]) / width**2 * gram[i, n] * vectors[n, j]
        coefficient = -np.mean(np.sqrt(m) / values[j] * slope, axis=0)
        score += psi[:, None] * coefficient
    return score


@pytest.mark.parametrize("share", [0.8, 0.99])
def test_score_is_its_definition(share):
    # 15 samples make 105 pairs, an odd number, whose median is one of them.
    x = np.random.default_rng(0).normal(size=(15, 3))
    expected = by_definition(x, share)
    found = numpy(spectral_score(x.astype("float32"), share))
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


def test_median_width_is_the_median_distance():
    x = np.random.default_rng(1).normal(size=(10, 2)).astype("float32")
    pairs = [np.linalg.norm(x[i] - x[j]) for i in range(10) for j in range(i)]
    width = float(numpy(kernels.median_width(kernels.squared_distances(x))))
    assert width == pytest.approx(np.median(pairs), rel=1e-5)


def test_score_of_a_gaussian_points_to_its_mean():
    rng = np.random.default_rng(2)
    mix = np.array([[1.0, 0.0], [0.9, 0.5]])
    x = rng.normal(size=(300, 2)) @ mix.T + 3.0
    exact = -(x - 3.0) @ np.linalg.inv(mix @ mix.T)
    found = numpy(spectral_score(x.astype("float32")))
    cosine = np.sum(found * exact) / np.linalg.norm(found) / np.linalg.norm(exact)
    assert cosine > 0.95
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(exact), rel=0.2)


@pytest.mark.parametrize("count", [1, 6])
def test_coinciding_samples_have_no_score(count):
    np.testing.assert_array_equal(numpy(spectral_score(np.full((count, 3), 0.3, "float32"))), 0)
