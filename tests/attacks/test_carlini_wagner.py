"""Carlini and Wagner's attack on networks whose boundaries are known, and its arguments."""

import functools
import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend
from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner
from sharedkeras.models import FrozenClassifier

SHAPE = (3, 4, 2)


def numpy(t):
    return ops.convert_to_numpy(t)


@functools.cache
def linear(classes=3, shift=0.0):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(math.prod(SHAPE), classes)).astype("float32")
    images = keras.Input(SHAPE)
    network = keras.Model(images, layers.Dense(classes)(layers.Flatten()(images)))
    network.layers[-1].set_weights([w, (shift - 0.5 * w.sum(0)).astype("float32")])
    return FrozenClassifier(network), w


def grey(count, seed=1, low=0.4, high=0.6):
    return np.random.default_rng(seed).uniform(low, high, (count, *SHAPE)).astype("float32")


def labels(classifier, x):
    return numpy(classifier.predict(x)).argmax(1).astype("int32")


def boundary_distance(classifier, w, x, y):
    """Return the distance to the nearest boundary of a linear classifier."""
    z, rows = numpy(classifier.predict(x)), np.arange(len(x))
    gap = z[rows, y][:, None] - z
    size = np.linalg.norm(w.T[y][:, None] - w.T[None], axis=2)
    distance = gap / np.maximum(size, 1e-12)
    distance[rows, y] = np.inf
    return distance.min(1)


def test_finds_the_nearest_boundary_of_a_linear_classifier():
    classifier, w = linear()
    x = grey(8)
    y = labels(classifier, x)
    nearest = boundary_distance(classifier, w, x, y)
    result = CarliniWagner(steps=200, learning_rate=0.01).run(classifier, x, y, seed=0)
    adv, distance = numpy(result.adversarial), numpy(result.distance)
    assert numpy(result.success).all()
    assert (labels(classifier, adv) != y).all()
    assert adv.min() >= 0 and adv.max() <= 1
    assert (distance >= nearest - 1e-5).all()
    assert (distance <= 1.02 * nearest + 5e-4).all()
    np.testing.assert_allclose(distance, np.sqrt(((adv - x) ** 2).sum((1, 2, 3))), rtol=1e-5, atol=1e-6)
    assert (numpy(result.best_loss) > 0).all()


@pytest.mark.parametrize("compat", [None, "torchattacks"])
def test_a_search_on_c_beats_a_fixed_one(compat):
    classifier, _ = linear()
    x = grey(8)
    y = labels(classifier, x)
    weak = CarliniWagner(compat="torchattacks", c=1e-4, steps=20).run(classifier, x, y, seed=0)
    strong = CarliniWagner(compat=compat, c=10.0, steps=60, learning_rate=0.05)
    strong = strong.run(classifier, x, y, seed=0)
    failed = ~numpy(weak.success)
    assert failed.sum() >= 6
    assert np.isinf(numpy(weak.distance)[failed]).all()
    np.testing.assert_array_equal(numpy(weak.adversarial)[failed], x[failed])
    assert numpy(strong.success).all()


def test_kappa_asks_for_a_larger_margin():
    classifier, _ = linear()
    x = grey(6)
    y = labels(classifier, x)
    found = CarliniWagner(kappa=1.5, steps=60, learning_rate=0.05).run(classifier, x, y, seed=0)
    assert numpy(found.success).all()
    assert (numpy(found.best_loss) >= 1.5).all()


def test_black_and_white_pixels_move_unless_compat_freezes_them():
    classifier, _ = linear()
    x = grey(6)
    x[:, 0], x[:, 1] = 0.0, 1.0
    y = labels(classifier, x)
    start = np.clip(x, 0.2, 0.8)
    frozen = CarliniWagner(compat="torchattacks", c=100.0, steps=100, learning_rate=0.1)
    moved = np.abs(numpy(frozen.run(classifier, x, y, seed=0).adversarial) - x)
    assert np.isfinite(moved).all()
    assert moved[:, :2].max() == 0
    assert moved[:, 2].max() > 0
    free = CarliniWagner(steps=60, learning_rate=0.1).run(classifier, x, y, seed=0, start=start)
    assert numpy(free.success).all()
    assert np.abs(numpy(free.adversarial) - x)[:, :2].max() > 0


def test_compat_clamps_logits_at_zero():
    # Every logit is negative, so torchattacks sees f = 0 everywhere and nothing ever moves far.
    classifier, _ = linear(shift=-100.0)
    x = grey(5)
    y = labels(classifier, x)
    quirk = CarliniWagner(compat="torchattacks", c=10.0, steps=30, learning_rate=0.05)
    quirk = quirk.run(classifier, x, y, seed=0, trace=True)
    assert not numpy(quirk.success).any()
    assert np.abs(numpy(quirk.trace["f"])).max() == 0
    right = CarliniWagner(steps=60, learning_rate=0.05).run(classifier, x, y, seed=0)
    assert numpy(right.success).all()


def test_epsilon_only_judges():
    classifier, _ = linear()
    x = grey(8)
    y = labels(classifier, x)
    attack = CarliniWagner(steps=60, learning_rate=0.02)
    free = attack.run(classifier, x, y, seed=0)
    middle = float(np.median(numpy(free.distance)))
    bounded = CarliniWagner(steps=60, learning_rate=0.02, epsilon=middle).run(classifier, x, y, seed=0)
    each = attack.run(classifier, x, y, seed=0, epsilon=np.full(8, middle, "float32"))
    np.testing.assert_array_equal(numpy(bounded.success), numpy(free.distance) <= middle + 1e-6)
    np.testing.assert_array_equal(numpy(bounded.success), numpy(each.success))
    np.testing.assert_allclose(numpy(bounded.distance), numpy(free.distance), rtol=1e-6)
    assert 0 < numpy(bounded.success).sum() < 8
    far = ~numpy(bounded.success)
    np.testing.assert_array_equal(numpy(bounded.adversarial)[far], x[far])


def test_an_image_that_is_already_wrong_costs_nothing():
    classifier, _ = linear()
    x = grey(4)
    y = (labels(classifier, x) + 1) % 3
    result = CarliniWagner(steps=10).run(classifier, x, y, seed=0)
    assert numpy(result.success).all()
    assert (numpy(result.distance) == 0).all()
    np.testing.assert_array_equal(numpy(result.adversarial), x)
    assert (numpy(result.queries) <= 2).all()


def test_early_stop_spends_less_for_the_same_verdict():
    classifier, _ = linear()
    x = grey(6)
    y = labels(classifier, x)
    attack = CarliniWagner(steps=40, learning_rate=0.05)
    slow = attack.run(classifier, x, y, seed=0)
    quick = attack.run(classifier, x, y, seed=0, early_stop=True)
    np.testing.assert_array_equal(numpy(quick.success), numpy(slow.success))
    assert numpy(quick.queries).sum() < numpy(slow.queries).sum()


def test_an_example_does_not_depend_on_its_batch():
    classifier, _ = linear()
    x = grey(7)
    y = labels(classifier, x)
    attack = CarliniWagner(steps=20, learning_rate=0.05, search_steps=4)
    whole = attack.run(classifier, x, y, seed=0)
    for part in (slice(0, 1), slice(2, 5)):
        alone = attack.run(classifier, x[part], y[part], seed=0)
        np.testing.assert_allclose(numpy(alone.adversarial), numpy(whole.adversarial)[part], atol=1e-5)
        np.testing.assert_array_equal(numpy(alone.success), numpy(whole.success)[part])


@pytest.mark.parametrize("compat", [None, "torchattacks"])
def test_gives_the_same_inside_a_graph(compat):
    classifier, _ = linear()
    x = grey(4)
    y = labels(classifier, x)
    attack = CarliniWagner(compat=compat, c=10.0, steps=6, search_steps=2, learning_rate=0.2)
    outside = numpy(attack(classifier, x, y, seed=0))
    graph = backend.compile(lambda x, y: attack(classifier, x, y, seed=0))
    inside = numpy(graph(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    np.testing.assert_allclose(inside, outside, atol=1e-5)


def test_ten_search_steps_end_with_a_c_that_succeeds():
    classifier, _ = linear()
    x = grey(3)
    y = labels(classifier, x)
    result = CarliniWagner(steps=20, learning_rate=0.05, search_steps=10).run(classifier, x, y, seed=0)
    assert numpy(result.success).all()


def test_two_classes():
    classifier, _ = linear(classes=2)
    x = grey(4)
    y = labels(classifier, x)
    assert numpy(CarliniWagner(steps=40, learning_rate=0.05).run(classifier, x, y, seed=0).success).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "linf"},
        {"compat": "foolbox"},
        {"c": 0.0},
        {"kappa": -1.0},
        {"steps": 0},
        {"learning_rate": math.nan},
        {"epsilon": -1.0},
        {"search_steps": 1.5},
        {"initial_c": 0},
    ],
)
def test_refuses_wrong_settings(wrong):
    with pytest.raises(ValueError, match=f"Received: {next(iter(wrong))}="):
        CarliniWagner(**wrong)


def test_refuses_a_loss_and_labels_that_are_none():
    classifier, _ = linear()
    x = grey(2)
    with pytest.raises(ValueError, match="a loss cannot replace it"):
        CarliniWagner().run(classifier, x, np.zeros(2, "int32"), seed=0, loss=lambda y, z: z[:, 0])
    with pytest.raises(ValueError, match="needs integer labels"):
        CarliniWagner().run(classifier, x, np.zeros((2, 3), "float32"), seed=0)
