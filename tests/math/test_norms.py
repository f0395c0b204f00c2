"""Norms: sizes, projections and directions against their definitions."""

import numpy as np
import pytest
from keras import ops

from sharedkeras.math import norms, random

ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture
def d():
    return np.random.default_rng(0).normal(size=(6, 4, 5, 3)).astype("float32")


@pytest.mark.parametrize("name", ORDER)
def test_size(name, d):
    expected = [np.linalg.norm(v.ravel(), ORDER[name]) for v in d]
    np.testing.assert_allclose(numpy(norms.get(name).size(d)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("epsilon", [0.5, np.linspace(0.1, 2, 6).astype("float32")])
def test_projection_is_inside_and_nearest(name, epsilon, d):
    norm = norms.get(name)
    out = numpy(norm.project(ops.convert_to_tensor(d), epsilon))
    assert np.all(numpy(norm.size(out)) <= np.asarray(epsilon) * (1 + 1e-5))
    # No point of the ball is nearer: moving towards any other point of the ball does not help.
    rng = np.random.default_rng(1)
    own = np.linalg.norm((out - d).reshape(6, -1), axis=1)
    for _ in range(50):
        other = rng.normal(size=d.shape).astype("float32")
        scale = np.asarray(epsilon) / numpy(norm.size(other))
        other = other * scale.reshape(-1, 1, 1, 1) * rng.random()
        nudged = out + 0.05 * (other - out)
        assert np.all(np.linalg.norm((nudged - d).reshape(6, -1), axis=1) >= own - 1e-5)


@pytest.mark.parametrize("name", ORDER)
def test_projection_leaves_the_inside_alone(name, d):
    norm = norms.get(name)
    small = d * 1e-3
    np.testing.assert_allclose(numpy(norm.project(small, 1.0)), small, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ORDER)
def test_direction_is_steepest(name, d):
    norm = norms.get(name)
    step = numpy(norm.direction(ops.convert_to_tensor(d)))
    np.testing.assert_allclose(numpy(norm.size(step)), 1, rtol=1e-5)
    # <g, step> is the dual norm of g, the most any unit step can reach.
    gain = np.sum((d * step).reshape(6, -1), axis=1)
    np.testing.assert_allclose(gain, numpy(norms.get(norm.dual).size(d)), rtol=1e-5)


@pytest.mark.parametrize("name", ORDER)
def test_direction_of_zero_is_zero(name):
    zero = np.zeros((2, 3, 3, 1), "float32")
    assert np.array_equal(numpy(norms.get(name).direction(ops.convert_to_tensor(zero))), zero)


@pytest.mark.parametrize("name", ORDER)
def test_starts(name):
    norm, index = norms.get(name), np.arange(40, dtype="int32")
    inside = numpy(norm.size(norm.ball(random.key(0), index, (8, 8, 3), "float32")))
    assert inside.max() <= 1 + 1e-6
    edge = numpy(norm.size(norm.sphere(random.key(0), index, (8, 8, 3), "float32")))
    np.testing.assert_allclose(edge, 1, rtol=1e-6)


def test_unknown_norm():
    with pytest.raises(ValueError, match="known are"):
        norms.get("l3")
