"""Square Attack: its schedule and patterns, and what must hold on any network."""

import functools
import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend
from sharedkeras.attacks.square import proposals, schedule
from sharedkeras.attacks.square.square import Square
from sharedkeras.models import CallableClassifier, FrozenClassifier

RADIUS = {"linf": 0.1, "l2": 0.6, "l1": 4.0}
NORMS = ("linf", "l2", pytest.param("l1", marks=pytest.mark.slow_on_jax))


def numpy(t):
    return ops.convert_to_numpy(t)


@functools.cache
def curved(shape=(9, 6, 2), classes=4):
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    x = layers.Dense(24, activation="tanh")(layers.Flatten()(inputs))
    return FrozenClassifier(keras.Model(inputs, layers.Dense(classes)(x)))


@functools.cache
def exact(shape=(9, 6, 2), classes=4):
    """A network whose logits any kernel computes without rounding: sums of few bits, in any order.

    Square lets an image go on from whichever of two is better, be it by one bit, and in L1 and L2 it
    scales up what rounding left in a window: two ways to compute one network soon part company.
    """
    rng = np.random.default_rng(1)
    inputs = keras.Input(shape)
    x = layers.Dense(24, activation="relu")(ops.round(layers.Flatten()(inputs) * 256))
    network = keras.Model(inputs, layers.Dense(classes)(x))
    network.set_weights([rng.integers(-4, 5, v.shape).astype("float32") for v in network.weights])
    return FrozenClassifier(network)


@functools.cache
def case(shape=(9, 6, 2), classes=4, count=12, make=curved):
    classifier = make(shape, classes)
    x = np.random.default_rng(0).uniform(0, 1, (count, *shape)).astype("float32")
    x[:, 0], x[:, :, 0] = 0.0, 1.0
    return classifier, x, numpy(classifier.predict(x)).argmax(1).astype("int32")


def margins(classifier, x, y):
    z = numpy(classifier.predict(x)).astype("float64")
    own = z[np.arange(len(z)), y]
    z[np.arange(len(z)), y] = -np.inf
    return z.max(1) - own


def sizes(norm, d):
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.linalg.norm(d.reshape(len(d), -1).astype("float64"), order, axis=1)


@pytest.mark.parametrize("queries", [1000, 5000])
@pytest.mark.parametrize("name", ["autoattack", "rescaled"])
def test_schedule_is_that_of_the_official_code(golden, queries, name):
    with np.load(golden / "square_schedule.npz") as want:
        levels = schedule.levels(queries, 0.8, name == "rescaled")
        run = f"nq{queries}_{name}"
        np.testing.assert_array_equal([first for first, _ in levels], want[f"{run}_iter"])
        np.testing.assert_allclose([share for _, share in levels], want[f"{run}_p"])
        for data, size in (("mnist", 28), ("cifar", 32)):
            for norm in ("linf", "l2"):
                sides = [proposals.get(norm).side(share, size, size) for _, share in levels]
                np.testing.assert_array_equal(sides, want[f"{run}_side_{norm}_{data}"])


def test_patterns_are_those_of_the_official_code(golden):
    with np.load(golden / "square_schedule.npz") as want:
        for name in want.files:
            if name.startswith("eta_rect_"):
                rows, columns = map(int, name.removeprefix("eta_rect_").split("x"))
                np.testing.assert_allclose(schedule.bump(rows, columns), want[name], atol=1e-6)
            elif name.startswith("eta_untransposed_s"):
                side = int(name.removeprefix("eta_untransposed_s"))
                np.testing.assert_allclose(schedule.eta(side), want[name], atol=1e-6)


@pytest.mark.parametrize("side", range(1, 12))
def test_every_pattern_has_unit_size(side):
    assert np.sum(schedule.eta(side) ** 2) == pytest.approx(1)
    assert np.sum(np.abs(schedule.eta(side, "l1"))) == pytest.approx(1)


def test_pattern_of_l1_falls_with_the_fourth_power():
    # Around the centre 1 + 1/16, then 1/16 alone; both are of one square 3 x 3.
    want = np.full((3, 3), 1 / 16)
    want[1, 1] += 1
    np.testing.assert_allclose(schedule.bump(3, 3, "l1"), want / want.sum())
    np.testing.assert_allclose(schedule.bump(3, 3)[0, 0], 0.25 / np.sqrt(8 / 16 + 1.25**2))


@pytest.mark.parametrize("norm", NORMS)
def test_stays_in_the_ball_and_finds_more_with_more_queries(norm):
    classifier, x, y = case()
    attack = Square(norm=norm, epsilon=RADIUS[norm], queries=120)
    result = attack.run(classifier, x, y, seed=0, trace=True)
    adv, success = numpy(result.adversarial), numpy(result.success)
    assert adv.min() >= 0 and adv.max() <= 1
    assert (sizes(norm, adv - x) <= RADIUS[norm] + 1e-6).all()
    np.testing.assert_array_equal(success, numpy(classifier.predict(adv)).argmax(1) != y)
    assert success.any()
    np.testing.assert_array_equal(np.isfinite(numpy(result.distance)), success)
    # The loss never falls, ends at the best, and is the margin of what is returned.
    loss, queries = numpy(result.trace["loss"]), numpy(result.queries)
    assert loss.shape == (121, len(x))
    assert (np.diff(loss, axis=0) >= 0).all()
    np.testing.assert_array_equal(loss[-1], numpy(result.best_loss))
    np.testing.assert_allclose(loss[-1], margins(classifier, adv, y), atol=1e-5)
    # One query for the start and one for each iteration until the image is broken.
    until = np.where(success, (loss < 0).sum(0) + 1, 121)
    np.testing.assert_array_equal(queries, until)


@pytest.mark.numeric
@pytest.mark.parametrize("norm", NORMS)
def test_same_without_trace_and_for_any_batch(norm):
    classifier, x, y = case(make=exact)
    attack = Square(norm=norm, epsilon=RADIUS[norm], queries=100)
    traced = attack.run(classifier, x, y, seed=3, trace=True)
    whole = attack.run(classifier, x, y, seed=3)
    np.testing.assert_allclose(numpy(whole.adversarial), numpy(traced.adversarial), atol=1e-6)
    for size in (1, 7):
        for first in range(0, 8, size):
            part = slice(first, first + size)
            index = np.arange(len(x), dtype="int32")[part]
            alone = attack.run(classifier, x[part], y[part], seed=3, index=index)
            np.testing.assert_array_equal(numpy(alone.success), numpy(whole.success)[part])
            np.testing.assert_array_equal(numpy(alone.queries), numpy(whole.queries)[part])
            np.testing.assert_allclose(
                numpy(alone.adversarial), numpy(whole.adversarial)[part], atol=1e-6
            )


@pytest.mark.numeric
@pytest.mark.parametrize("norm", NORMS)
def test_a_callable_gets_the_same_verdicts(norm):
    classifier, x, y = case(make=exact)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in classifier.network.layers if layer.weights)
    asked = []

    def function(images):
        assert isinstance(images, np.ndarray)
        asked.append(len(images))
        hidden = np.round(images.reshape(len(images), -1) * np.float32(256)) @ w1 + b1
        return np.maximum(hidden, 0) @ w2 + b2

    attack = Square(norm=norm, epsilon=RADIUS[norm], queries=70)
    want = attack.run(classifier, x, y, seed=1)
    got = attack.run(CallableClassifier(function), x, y, seed=1)
    np.testing.assert_array_equal(numpy(got.success), numpy(want.success))
    np.testing.assert_array_equal(numpy(got.queries), numpy(want.queries))
    assert 0 < numpy(got.success).sum() < len(x)
    # The L1 projection spreads the rounding of a sum of the radius's size.
    tolerance = 1e-6 * max(1.0, RADIUS[norm])
    np.testing.assert_allclose(numpy(got.adversarial), numpy(want.adversarial), atol=tolerance)
    # Broken images are not asked about again; the verdict asks once about all.
    assert sum(asked) == numpy(got.queries).sum() + len(x)


@pytest.mark.parametrize("norm", NORMS)
def test_gives_the_same_inside_a_graph(norm):
    classifier, x, y = case()
    attack = Square(norm=norm, epsilon=RADIUS[norm], queries=70)
    graph = backend.compile(lambda x, y: attack(classifier, x, y, seed=2))
    inside = numpy(graph(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    np.testing.assert_allclose(inside, numpy(attack(classifier, x, y, seed=2)), atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("shape", "classes"), [((3, 4, 1), 2), ((14, 14, 1), 3), ((5, 16, 3), 2), ((1, 1, 2), 2)]
)
def test_any_image_size_and_two_classes(norm, shape, classes):
    classifier, x, y = case(shape, classes, 4)
    result = Square(norm=norm, epsilon=RADIUS[norm], queries=12).run(classifier, x, y, seed=0)
    adv = numpy(result.adversarial)
    assert np.isfinite(adv).all() and adv.min() >= 0 and adv.max() <= 1
    assert (sizes(norm, adv - x) <= RADIUS[norm] + 1e-6).all()


def test_windows_reach_the_last_row_and_column():
    shape, index = (6, 6, 1), np.arange(64, dtype="int32")
    x = ops.convert_to_tensor(np.full((64, *shape), 0.5, "float32"))
    plan = proposals.get("linf")
    corners = ops.convert_to_tensor(np.stack([index % 5, index % 5], 1))  # 0 .. h - s
    signs = ops.convert_to_tensor(np.ones((64, 2), "float32"))
    moved = plan.change(x, x, 0.1, corners, signs, ops.convert_to_tensor(0, dtype="int32"), (2,))
    changed = numpy(moved)[:, :, :, 0] > 0.5
    assert (changed.sum((1, 2)) == 4).all()
    assert changed[:, -1, -1].any() and changed[:, 0, 0].any()


def test_restarts_never_find_less():
    classifier, x, y = case()
    few = Square(epsilon=0.08, queries=10).run(classifier, x, y, seed=0)
    more = Square(epsilon=0.08, queries=10, restarts=3).run(classifier, x, y, seed=0)
    assert (numpy(more.success) >= numpy(few.success)).all()
    assert (numpy(more.best_loss) >= numpy(few.best_loss)).all()
    once = numpy(few.success)
    np.testing.assert_array_equal(numpy(more.queries)[once], numpy(few.queries)[once])


def test_own_epsilon_start_and_loss():
    classifier, x, y = case()
    epsilon = np.linspace(0.01, 0.2, len(x)).astype("float32")
    attack = Square(epsilon=0.5, queries=20)
    result = attack.run(classifier, x, y, seed=0, epsilon=epsilon, start=np.ones_like(x))
    assert (sizes("linf", numpy(result.adversarial) - x) <= epsilon + 1e-6).all()
    first = numpy(
        attack.run(classifier, x, y, seed=0, epsilon=epsilon, start=x, trace=True).trace["loss"]
    )[0]
    np.testing.assert_allclose(first, margins(classifier, x, y), atol=1e-5)
    # A loss of something that is no label: nothing counts as broken.
    wanted = numpy(classifier.predict(x))

    def apart(target, logits):
        return ops.sum(ops.square(logits - target), axis=-1)

    result = attack.run(classifier, x, wanted, seed=0, loss=apart)
    assert not numpy(result.success).any()
    assert (numpy(result.queries) == 21).all()
    assert (numpy(result.best_loss) > 0).all()


def test_a_constant_or_broken_classifier_is_not_beaten():
    _, x, y = case()
    zeros, ties = np.zeros((len(x), 4), "float32"), np.zeros_like(y)
    result = Square(queries=5).run(lambda images: zeros[: len(images)], x, ties, seed=0)
    assert not numpy(result.success).any()  # Of equal logits the lowest class wins.
    result = Square(queries=5).run(lambda images: zeros[: len(images)] * np.nan, x, y, seed=0)
    assert not numpy(result.success).any()
    assert (numpy(result.best_loss) == -np.inf).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "l3"},
        {"epsilon": 0},
        {"queries": 0},
        {"p_init": 1.5},
        {"p_init": math.nan},
        {"restarts": 0},
        {"eot_samples": 0},
        {"loss": "hinge"},
    ],
)
def test_refuses_wrong_settings(wrong):
    with pytest.raises(ValueError, match=f"Received: {next(iter(wrong))}="):
        Square(**wrong)


def test_refuses_what_gives_no_logits():
    _, x, y = case()
    with pytest.raises(ValueError, match="must return logits of shape"):
        Square(queries=2).run(lambda images: np.zeros(len(images)), x, y, seed=0)
    with pytest.raises(TypeError, match="callable on NumPy arrays"):
        Square(queries=2).run("network", x, y, seed=0)
