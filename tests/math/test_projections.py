"""The projections onto a hyperplane within the box, against the official tool's and brute force."""

import functools

import numpy as np
import pytest
import scipy.optimize
from keras import ops

from sharedkeras import backend
from sharedkeras.math import projections

NORMS = ("linf", "l2", "l1")


@functools.cache
def compiled(norm):
    def project(t, w, b):
        excess = ops.sum(ops.reshape(t * w, (ops.shape(t)[0], -1)), axis=1) - b
        return projections.get(norm)(t, w, excess)

    return backend.compile(project)


def move(norm, t, w, b, dtype="float32"):
    return ops.convert_to_numpy(
        compiled(norm)(*(ops.convert_to_tensor(a, dtype=dtype) for a in (t, w, b)))
    )


def sizes(norm, d):
    d = np.abs(d.reshape(len(d), -1).astype("float64"))
    return {"linf": d.max(1), "l2": np.sqrt((d**2).sum(1)), "l1": d.sum(1)}[norm]


def random_cases(dimension, count, seed):
    """Feasible planes through random points of the box; some coordinates at 0 or 1, some weights 0."""
    rng = np.random.default_rng(seed)
    t = np.clip(rng.uniform(-0.2, 1.2, (count, dimension)), 0, 1)
    w = rng.normal(size=(count, dimension)) * rng.choice([0, 0.01, 1, 5], (count, dimension))
    w[:, 0] = 1.0
    inside = np.clip(t + rng.uniform(0.01, 1, (count, 1)) * rng.normal(size=t.shape), 0, 1)
    t, w, inside = (a.astype("float32").astype("float64") for a in (t, w, inside))
    return t, w, (w * inside).sum(1)


def smallest(norm, t, w, b):
    """The smallest size of a move, by linear programming (Linf, L1) or a root search (L2)."""
    d = len(t)
    if norm == "l2":
        sign = np.sign(w @ t - b) or 1.0

        def at(level):
            return np.clip(t - sign * level * w, 0, 1)

        far = 2.0 / np.abs(w[w != 0]).min()
        level = scipy.optimize.brentq(lambda v: sign * (w @ at(v) - b), 0, far, xtol=1e-14, rtol=1e-14)
        return np.linalg.norm(at(level) - t)
    # Variables: the move's positive and negative part, and for Linf the size that bounds each.
    box = [(0, 1 - v) for v in t] + [(0, v) for v in t]
    plane = np.concatenate([w, -w])
    if norm == "l1":
        cost, bounds, upper, limit = np.ones(2 * d), box, None, None
    else:
        cost, bounds = np.r_[np.zeros(2 * d), 1.0], [*box, (0, 1)]
        plane = np.r_[plane, 0.0]
        upper, limit = np.c_[np.eye(2 * d), -np.ones(2 * d)], np.zeros(2 * d)
    solved = scipy.optimize.linprog(
        cost, A_eq=plane[None], b_eq=[b - w @ t], A_ub=upper, b_ub=limit, bounds=bounds
    )
    assert solved.success
    return solved.fun


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dimension", [24, 784])
def test_equals_the_official_tool(norm, dimension, golden):
    data = np.load(golden / "fab_projections.npz")
    t, w, b, kind = (data[f"d{dimension}_{k}"] for k in ("t", "w", "b", "kind"))
    expected = data[f"d{dimension}_{norm}_f8_d"]
    found = move(norm, t, w, b)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.median(np.abs(found - expected).max(1)) < 2e-7
    feasible = ~np.isin(kind, [b"infeasible_above", b"infeasible_below", b"zero_w", b"tiny_w"])
    residual = np.abs(((t + found.astype("float64")) * w).sum(1) - b) / (
        np.abs(w * t).sum(1) + np.abs(b)
    )
    assert residual[feasible].max() < 5e-7


@pytest.mark.tensorflow  # JAX has no float64 unless its process is set so.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_equals_the_official_tool_in_float64(norm, golden):
    data = np.load(golden / "fab_projections.npz")
    found = move(norm, *(data[f"d24_{k}"] for k in ("t", "w", "b")), dtype="float64")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, data[f"d24_{norm}_f8_d"], atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dimension", [1, 7, 50])
def test_no_other_move_is_shorter(norm, dimension):
    t, w, b = random_cases(dimension, 34, seed=dimension)
    found = move(norm, t, w, b)
    best = [smallest(norm, *case) for case in zip(t, w, b, strict=True)]
    np.testing.assert_allclose(sizes(norm, found), best, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(((t + found) * w).sum(1), b, atol=2e-6 * np.abs(w).sum(1).max())
    assert (t + found).min() > -1e-7
    assert (t + found).max() < 1 + 1e-7


@pytest.mark.parametrize("norm", NORMS)
def test_equal_weights(norm):
    t, w = np.full((1, 4), 0.5), np.ones((1, 4))
    found = move(norm, t, w, np.array([1.0]))
    np.testing.assert_allclose(found.sum(), -1.0, rtol=1e-6)
    expected = {"linf": 0.25, "l2": 0.5, "l1": 1.0}[norm]
    np.testing.assert_allclose(sizes(norm, found), expected, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_on_the_plane_nothing_moves(norm):
    t = np.array([[0.25, 0.5, 1.0]])
    w = np.array([[2.0, -1.0, 0.5]])
    np.testing.assert_array_equal(move(norm, t, w, (t * w).sum(1)), 0.0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("offset", [-0.5, 0.0, 0.5])
def test_a_zero_normal_moves_nothing(norm, offset):
    found = move(norm, np.array([[0.0, 0.3, 1.0]]), np.zeros((1, 3)), np.array([offset]))
    np.testing.assert_array_equal(found, 0.0)


def test_tiny_weights():
    t, w = np.full((1, 3), 0.5), np.full((1, 3), 1e-9)
    b = (t * w).sum(1) - 3e-10
    np.testing.assert_allclose(move("linf", t, w, b), -0.1, rtol=1e-4)
    np.testing.assert_allclose(move("l1", t, w, b).sum(), -0.3, rtol=1e-4)
    np.testing.assert_array_equal(move("l2", t, w, b), 0.0)  # As the official tool does.


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_plane_beyond_the_box_gives_the_corner(norm, sign):
    t = np.array([[0.2, 0.5, 1.0, 0.3]])
    w = np.array([[1.0, -2.0, 0.5, 0.0]])
    corner = np.where(sign * w > 0, 1.0, 0.0)
    expected = np.where(w == 0, 0.0, corner - t)
    np.testing.assert_allclose(move(norm, t, w, np.array([sign * 10.0])), expected, atol=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_many_coordinates_reach_the_plane(norm):
    t, w, _ = (a.astype("float32") for a in random_cases(3072, 4, seed=5))
    images = [ops.convert_to_tensor(a.reshape(4, 32, 32, 3)) for a in (t, w)]
    excess = np.array([0.01, -0.01, 0.1, -0.1], "float32") * np.abs(w).sum(1)
    found = projections.get(norm)(*images, ops.convert_to_tensor(excess))
    assert tuple(found.shape) == (4, 32, 32, 3)
    gained = (ops.convert_to_numpy(found).reshape(4, -1).astype("float64") * w).sum(1)
    np.testing.assert_allclose(gained, -excess, rtol=5e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_examples_do_not_see_each_other(norm):
    t, w, b = random_cases(50, 6, seed=1)
    together = move(norm, t, w, b)
    alone = np.concatenate([move(norm, t[i : i + 1], w[i : i + 1], b[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, alone, atol=2e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_nan_ends(norm):
    t, w = np.full((2, 3), 0.5), np.array([[np.nan, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = move(norm, t, w, np.array([1.0, 1.2]))
    np.testing.assert_allclose(found[1].sum(), -0.3, rtol=1e-5)


def test_unknown_norm():
    with pytest.raises(ValueError, match="Received: norm='l3'"):
        projections.get("l3")
