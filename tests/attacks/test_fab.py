"""FAB on networks whose boundaries are known, and what must hold on any network."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend
from sharedkeras.attacks.fab.fab import FAB
from sharedkeras.math import norms
from sharedkeras.models import FrozenClassifier

NORMS = ("linf", "l2", "l1")
SHAPE = (4, 4, 2)


def numpy(t):
    return ops.convert_to_numpy(t)


@functools.cache
def linear(classes, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    w = (scale * rng.normal(size=(32, classes))).astype("float32")
    images = keras.Input(SHAPE)
    network = keras.Model(images, layers.Dense(classes)(layers.Flatten()(images)))
    network.layers[-1].set_weights([w, (-0.5 * w.sum(0)).astype("float32")])
    return FrozenClassifier(network), w


def curved(classes=4, seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE)
    x = layers.Dense(20, activation="tanh")(layers.Flatten()(images))
    return FrozenClassifier(keras.Model(images, layers.Dense(classes)(x)))


def images(count, low=0.0, high=1.0, seed=1):
    return np.random.default_rng(seed).uniform(low, high, (count, *SHAPE)).astype("float32")


def predicted(classifier, x):
    return numpy(classifier.predict(x)).argmax(1).astype("int32")


def sizes(norm, d):
    return numpy(norms.get(norm).size(ops.convert_to_tensor(d)))


@pytest.fixture(scope="module")
def net():
    return curved()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_one_step_overshoots_the_projection_on_a_linear_boundary(norm, targeted):
    classifier, w = linear(4)
    x = images(6, 0.48, 0.52)  # Near the middle, so that the box is out of reach.
    y = predicted(classifier, x)
    logits = numpy(classifier.predict(x))
    gap = logits - logits[np.arange(6), y][:, None]
    normal = w.T[None] - w.T[y][:, None]  # (batch, class, coordinate)
    order = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    distance = np.abs(gap) / (np.linalg.norm(normal, ord=order, axis=2) + 1e-30)
    distance[np.arange(6), y] = np.inf
    nearest = distance.argmin(1)
    f, g = gap[np.arange(6), nearest, None], normal[np.arange(6), nearest]
    closed = {
        "linf": -f / np.abs(g).sum(1, keepdims=True) * np.sign(g),
        "l2": -f / (g**2).sum(1, keepdims=True) * g,
        "l1": -f / g * (np.abs(g) == np.abs(g).max(1, keepdims=True)),
    }[norm]
    attack = FAB(norm=norm, epsilon=1.0, steps=1, targeted=targeted, alpha_max=0.5)
    result = attack.run(classifier, x, y, seed=0)
    assert numpy(result.success).all()
    moved = numpy(result.adversarial) - x
    np.testing.assert_allclose(moved.reshape(6, -1), 1.05 * closed, atol=2e-6)
    np.testing.assert_allclose(numpy(result.distance), 1.05 * distance.min(1), rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_comes_down_to_the_boundary_of_a_linear_network(norm):
    classifier, w = linear(2)
    x = images(5, 0.48, 0.52)
    y = predicted(classifier, x)
    logits = numpy(classifier.predict(x))
    order = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    closed = np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(w[:, 0] - w[:, 1], ord=order)
    result = FAB(norm=norm, epsilon=1.0, steps=30).run(classifier, x, y, seed=0)
    ratio = numpy(result.distance) / closed
    assert ratio.min() > 1 - 1e-4
    assert ratio.max() < 1.05 + 1e-4


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_what_is_returned_is_consistent(net, norm, targeted):
    x = images(12)
    y = predicted(net, x)
    y[:2] = (y[:2] + 1) % 4  # Two are misclassified from the outset.
    free = FAB(norm=norm, epsilon=1e-3, steps=10, targeted=targeted).run(net, x, y, seed=0)
    epsilon = float(np.median(numpy(free.distance)[2:]))
    attack = FAB(norm=norm, epsilon=epsilon, steps=10, targeted=targeted)
    result = attack.run(net, x, y, seed=0, trace=True)
    adv, success, distance = (numpy(t) for t in (result.adversarial, result.success, result.distance))
    assert adv.min() >= 0
    assert adv.max() <= 1
    found = np.isfinite(distance)
    assert found.mean() > 0.5
    np.testing.assert_array_equal(success, distance <= epsilon)
    assert 0 < success[2:].sum() < 10
    np.testing.assert_array_equal(predicted(net, adv) != y, found)
    np.testing.assert_allclose(sizes(norm, adv - x)[found], distance[found], rtol=1e-5)
    np.testing.assert_array_equal(adv[~found], x[~found])
    np.testing.assert_array_equal(adv[:2], x[:2])
    np.testing.assert_array_equal(distance[:2], 0)
    np.testing.assert_array_equal(numpy(result.best_loss) > 0, found)
    runs, rivals = (3, 1) if targeted else (1, 3)
    np.testing.assert_array_equal(numpy(result.queries)[:2], 1)
    np.testing.assert_array_equal(numpy(result.queries)[2:], 1 + runs * (10 * (rivals + 1) + 1))
    record = numpy(result.trace["norm"])
    assert record.shape == (10, 12)
    assert (record[1:] <= record[:-1]).all()
    np.testing.assert_allclose(record[-1, 2:], distance[2:])
    np.testing.assert_array_equal(numpy(result.trace["run_norm"]).min(0), record[-1])
    assert numpy(result.trace["run_norm"]).shape == (runs, 12)
    np.testing.assert_array_equal(numpy(attack(net, x, y, seed=0)), adv)


def test_early_stop_finds_the_same_successes(net):
    x = images(12)
    y = predicted(net, x)
    attack = FAB(steps=10, targeted=True)
    epsilon = np.full(12, np.median(numpy(attack.run(net, x, y, seed=0).distance)))
    whole = attack.run(net, x, y, seed=0, epsilon=epsilon)
    early = attack.run(net, x, y, seed=0, epsilon=epsilon, early_stop=True)
    assert 0 < numpy(whole.success).sum() < 12
    np.testing.assert_array_equal(numpy(whole.success), numpy(early.success))
    assert (numpy(early.distance) >= numpy(whole.distance) - 1e-6).all()
    assert numpy(early.queries).sum() < numpy(whole.queries).sum()


@pytest.mark.parametrize(("targeted", "cut"), [(False, slice(0, 1)), (True, slice(2, 5))])
def test_batches_do_not_matter(net, targeted, cut):
    x = images(8)
    y = predicted(net, x)
    attack = FAB(epsilon=0.2, steps=8, targeted=targeted, targets=2, restarts=2)
    whole = attack.run(net, x, y, seed=3)
    index = np.arange(8, dtype="int32")
    part = attack.run(net, x[cut], y[cut], seed=3, index=index[cut])
    np.testing.assert_array_equal(numpy(part.success), numpy(whole.success)[cut])
    np.testing.assert_allclose(numpy(part.distance), numpy(whole.distance)[cut], rtol=1e-3)


def test_restarts_only_help_and_are_reproducible(net):
    x = images(6)
    y = predicted(net, x)
    once = FAB(epsilon=0.2, steps=5).run(net, x, y, seed=0)
    again = FAB(epsilon=0.2, steps=5, restarts=3)
    more = again.run(net, x, y, seed=0)
    assert (numpy(more.distance) <= numpy(once.distance)).all()
    np.testing.assert_array_equal(numpy(more.adversarial), numpy(again(net, x, y, seed=0)))
    runs = [numpy(again.run(net, x, y, seed=s, trace=True).trace["run_norm"]) for s in (0, 1)]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])  # The first run begins at the clean image.
    assert (runs[0][1:] != runs[1][1:]).any()


def test_start_replaces_the_clean_image(net):
    x = images(6)
    y = predicted(net, x)
    attack = FAB(epsilon=0.2, steps=4)
    same = attack.run(net, x, y, seed=0, start=x)
    np.testing.assert_array_equal(numpy(same.adversarial), numpy(attack(net, x, y, seed=0)))
    other = attack.run(net, x, y, seed=0, start=np.clip(x + 0.05, 0, 1))
    assert (numpy(other.adversarial) != numpy(same.adversarial)).any()


def test_epsilon_for_each_example_decides_only_on_success(net):
    x = images(6)
    y = predicted(net, x)
    attack = FAB(epsilon=0.2, steps=8)
    result = attack.run(net, x, y, seed=0)
    distance = numpy(result.distance)
    epsilon = (distance * np.array([0.9, 1.1, 0.9, 1.1, 0.9, 1.1])).astype("float32")
    judged = attack.run(net, x, y, seed=0, epsilon=epsilon)
    np.testing.assert_array_equal(numpy(judged.distance), distance)
    np.testing.assert_array_equal(numpy(judged.success), [False, True] * 3)


@pytest.mark.parametrize("targeted", [False, True])
def test_two_classes(targeted):
    classifier, _ = linear(2)
    x = images(5)
    y = predicted(classifier, x)
    attack = FAB(epsilon=0.5, steps=10, targeted=targeted)
    result = attack.run(classifier, x, y, seed=0, early_stop=True)
    assert numpy(result.success).all()


def test_an_unbreakable_network_gives_the_clean_images():
    inputs = keras.Input(SHAPE)
    dense = layers.Dense(3, kernel_initializer="zeros", bias_initializer="ones")
    outputs = layers.Add()([dense(layers.Flatten()(inputs)), ops.zeros((1, 3))])
    network = keras.Model(inputs, outputs)
    x = images(3)
    result = FAB(steps=4, targeted=True).run(FrozenClassifier(network), x, np.zeros(3, "int32"), seed=0)
    np.testing.assert_array_equal(numpy(result.adversarial), x)
    assert not numpy(result.success).any()
    assert np.isinf(numpy(result.distance)).all()


def test_everything_misclassified_from_the_outset(net):
    x = images(3)
    y = (predicted(net, x) + 1) % 4
    result = FAB(steps=3, targeted=True).run(net, x, y, seed=0, trace=True)
    assert numpy(result.success).all()
    np.testing.assert_array_equal(numpy(result.adversarial), x)
    assert result.trace["norm"].shape == (3, 3)


@pytest.mark.slow
def test_a_randomised_network():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(0)

        def call(self, x):
            return x + 0.02 * keras.random.normal(ops.shape(x), seed=self.seed_generator)

    inputs = keras.Input(SHAPE)
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(Noise()(inputs))))
    classifier = FrozenClassifier(network)
    x = images(4)
    y = predicted(classifier, x)
    result = FAB(epsilon=0.3, steps=5, eot_samples=4).run(classifier, x, y, seed=0)
    assert numpy(result.success).any()
    assert np.isfinite(numpy(result.adversarial)).all()
    np.testing.assert_array_equal(numpy(result.queries), 4 + 4 * (5 * 3 + 1))


def test_inside_a_compiled_graph(net):
    x = images(4)
    y = predicted(net, x)
    attack = FAB(steps=4, targeted=True, targets=2)
    graph = backend.compile(lambda x, y: attack(net, x, y, seed=0))
    inside = numpy(graph(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    np.testing.assert_allclose(inside, numpy(attack(net, x, y, seed=0)), atol=1e-5)


def test_refuses_a_loss(net):
    with pytest.raises(ValueError, match="Received: loss="):
        FAB().run(net, images(1), np.zeros(1, "int32"), seed=0, loss=lambda y, z: z[:, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "l3"},
        {"epsilon": 0.0},
        {"steps": 0},
        {"targets": 0},
        {"restarts": 1.5},
        {"targeted": "yes"},
        {"alpha_max": 1.5},
        {"eta": 0.9},
        {"beta": 1.0},
        {"eot_samples": 0},
    ],
)
def test_refuses_bad_values(wrong):
    with pytest.raises(ValueError, match=f"Received: .*{next(iter(wrong))}="):
        FAB(**wrong)


def test_is_a_value():
    assert FAB() == FAB()
    assert hash(FAB(norm="l2")) == hash(FAB(norm="l2"))
    assert repr(FAB()).startswith("FAB(norm='linf', epsilon=")
