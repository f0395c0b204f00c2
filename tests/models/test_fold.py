"""A folded network gives the same logits with fewer layers, and verdicts are still the network's own."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.golden import M2, clean_logits, images

from sharedkeras import backend, evaluation, models
from sharedkeras.attacks import PGD
from sharedkeras.evaluation.judging import attack_batch as module
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.fold import fold


def numpy(x):
    return ops.convert_to_numpy(x)


def shaken(network):
    """Return every weight a value of its own, moving statistics included."""
    rng = np.random.default_rng(0)
    for variable in network.weights:
        if "seed" not in variable.path:
            value = numpy(variable + 0)
            low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.3
            noise = rng.uniform(low, low + 1, value.shape)
            variable.assign(noise if value.ndim == 1 else value + 0.01 * noise)
    return network


def norms(network):
    return [la.name for la in network.layers if isinstance(la, layers.BatchNormalization)]


@pytest.mark.parametrize("name", ["resnet18", "wrn-10-1"])
def test_same_logits_without_normalisation_behind_convolutions(name):
    network = shaken(models.build(name, input_shape=(16, 16, 3), num_classes=10, latent_dim=8))
    folded = fold(network)
    # What stands before a convolution, as the first of each wide block does, stays.
    left = [] if name == "resnet18" else ["stage1_block1_bn1", "stage2_block1_bn1", "final_bn"]
    assert set(left) <= set(norms(folded)) < set(norms(network))
    assert name != "resnet18" or norms(folded) == []
    x = np.random.default_rng(1).random((4, 16, 16, 3)).astype("float32")
    want, got = (numpy(FrozenClassifier(n).predict(x)) for n in (network, folded))
    assert (FrozenClassifier(network).folded.network is network) == backend.MERGES_PASSES
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_reference_network():
    x, _ = images("M2")
    folded = fold(M2())
    assert norms(folded) == []
    np.testing.assert_allclose(numpy(FrozenClassifier(folded).predict(x)), clean_logits("M2"), atol=1e-4)


def test_bias_scale_and_centre_are_minded():
    inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(3, 3)(inputs)
    x = layers.BatchNormalization(scale=False, epsilon=1e-2)(x)
    x = layers.Conv2D(4, 2, use_bias=False)(layers.ReLU()(x))
    x = layers.BatchNormalization(center=False)(x)
    network = shaken(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
    folded = fold(network)
    assert norms(folded) == []
    x = np.random.default_rng(1).random((4, 5, 5, 2)).astype("float32")
    np.testing.assert_allclose(numpy(folded(x)), numpy(network(x)), rtol=1e-4, atol=1e-5)


def branch(x):
    h = layers.Conv2D(2, 3, padding="same")(x)
    return layers.Add()([layers.BatchNormalization()(h), h])


def activated(x):
    return layers.BatchNormalization()(layers.Conv2D(2, 3, activation="relu")(x))


def shared(x):
    conv = layers.Conv2D(2, 3, padding="same")
    return layers.BatchNormalization()(conv(conv(x)))


def other(x):
    class Own(layers.Layer):
        def call(self, x):
            return 2.0 * x

    return layers.BatchNormalization()(layers.Conv2D(2, 3)(Own()(x)))


@pytest.mark.parametrize("body", [branch, activated, shared, other, lambda x: x])
def test_left_alone(body):
    inputs = keras.Input((5, 5, 2))
    network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(body(inputs))))
    assert fold(network) is network
    assert FrozenClassifier(network).folded.network is network


def test_sequential_is_left_alone():
    network = keras.Sequential(
        [keras.Input((5, 5, 2)), layers.Conv2D(2, 3), layers.BatchNormalization()]
    )
    assert fold(network) is network


def test_attacked_is_the_twin_and_believed_the_network(monkeypatch):
    x, y = images("M2", 16)
    classifier = FrozenClassifier(M2())
    folded = classifier.folded
    assert (folded is classifier) == backend.MERGES_PASSES
    assert classifier.folded is folded
    # Layers that only the network itself has can still be tapped.
    assert numpy(folded.tap("b1_bn1").predict(x)).shape == (16, 32, 32, 16)
    seen = []

    class Spy(PGD):
        def run(self, attacked, *args, **kwargs):
            seen.append(attacked)
            return super().run(attacked, *args, **kwargs)

    attack = Spy(epsilon=8 / 255, step_size=2 / 255, steps=3)
    part = (x, y, np.arange(16))
    done = module.attack_batch(classifier, attack, *part, 0, 16, 16)
    assert seen == [folded]
    assert np.array_equal(
        done["predicted"], numpy(classifier.predict(done["adversarial"])).argmax(axis=1)
    )


class Noise(layers.GaussianNoise):
    """Noise at inference too."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


def test_a_random_network_draws_the_same(monkeypatch):
    inputs = keras.Input((5, 5, 2))
    h = layers.BatchNormalization()(layers.Conv2D(3, 3)(inputs))
    h = layers.Flatten()(Noise(1.0, seed=3)(h))
    network = keras.Model(inputs, layers.Dense(3)(h))
    x = np.random.default_rng(1).random((4, 5, 5, 2)).astype("float32")
    first = numpy(network(x))  # The generator's state has moved on.
    assert fold(network) is network  # A layer of a test is not known.
    monkeypatch.setattr(Noise, "__module__", "keras.layers")
    folded = fold(network)
    assert norms(folded) == []
    again, twin = numpy(network(x)), numpy(folded(x))
    assert np.abs(again - first).max() > 0.1
    np.testing.assert_allclose(twin, again, atol=1e-5)


def test_new_weights_reach_the_twin():
    network = M2()
    classifier = FrozenClassifier(network)
    x, _ = images("M2", 4)
    before = numpy(classifier.folded.predict(x))
    network.get_layer("bn0").gamma.assign(2.0 * network.get_layer("bn0").gamma)
    classifier.refresh()
    after = numpy(classifier.folded.predict(x))
    np.testing.assert_allclose(after, numpy(network(x, training=False)), atol=1e-4)
    assert np.abs(after - before).max() > 0.1


def test_evaluation_says_what_it_judged():
    x, y = images("M2", 8)
    network = M2()
    attacks = {"pgd": PGD(epsilon=8 / 255, step_size=2 / 255, steps=2)}
    report = evaluation.evaluate(network, x, y, attacks, checks=False)
    assert report.settings["weights_sha256"] == evaluation.weights_digest(network)
