"""Weights of one network for another: which layers take them, and which differences are refused."""

import keras
import numpy as np
import pytest
from keras import layers

from sharedkeras import models


def cnn(classes=10, channels=1, **options):
    return models.build("cnn", input_shape=(28, 28, channels), num_classes=classes, **options)


def weights(network, names):
    return [w for name in names for w in network.get_layer(name).get_weights()]


def body(network, without=("latent", "logits")):
    return [layer.name for layer in network.layers if layer.weights and layer.name not in without]


def same(network, source, names):
    pairs = zip(weights(network, names), weights(source, names), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_same_architecture_takes_everything():
    keras.utils.set_random_seed(0)
    source, network = cnn(latent_dim=8), cnn(latent_dim=8)
    x = np.random.default_rng(0).random((4, 28, 28, 1), "float32")
    want = keras.ops.convert_to_numpy(source(x))
    assert not np.allclose(keras.ops.convert_to_numpy(network(x)), want, atol=1e-3)
    assert models.take_weights(network, source) == ()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(network(x)), want)


def test_statistics_of_normalisation_come_along():
    keras.utils.set_random_seed(0)
    build = {"input_shape": (32, 32, 3), "num_classes": 10}
    source, network = (models.build("resnet18-w4", **build) for _ in range(2))
    norm = next(layer for layer in source.layers if isinstance(layer, layers.BatchNormalization))
    norm.moving_mean.assign(norm.moving_mean + 3.0)
    models.take_weights(network, source)
    taken = keras.ops.convert_to_numpy(network.get_layer(norm.name).moving_mean)
    np.testing.assert_array_equal(taken, 3.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "new"),
    [
        ({"classes": 3}, {}, ("logits",)),
        ({"latent_dim": 8}, {}, ("latent", "logits")),
        ({}, {"latent_dim": 8}, ("logits",)),
        ({"latent_dim": 6}, {"latent_dim": 8}, ("latent", "logits")),
        ({"latent_dim": 8, "classes": 3}, {"latent_dim": 8}, ("logits",)),
    ],
)
def test_another_head_stays_new(mine, theirs, new):
    keras.utils.set_random_seed(0)
    network, source = cnn(**mine), cnn(**theirs)
    before = weights(network, new)
    assert models.take_weights(network, source) == new
    kept = [name for name in body(network, without=()) if name not in new]
    assert body(network) == [name for name in kept if name != "latent"]
    assert same(network, source, kept)
    for a, b in zip(weights(network, new), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_do_not_matter():
    def build(prefix):
        x = keras.Input((4,))
        y = layers.Dense(3, name=f"{prefix}a")(x)
        return keras.Model(x, layers.Dense(2, name=f"{prefix}b")(y), name=prefix)

    network, source = build("one"), build("two")
    assert models.take_weights(network, source) == ()
    for a, b in zip(network.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda: cnn(channels=3), r"number 1 differs.*\(3, 3, 3, 32\)"),
        (
            lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)]),
            "number 1 differs",
        ),
        (
            lambda: models.build("resnet18-w4", input_shape=(28, 28, 1), num_classes=10),
            "number 1 differs",
        ),
    ],
)
def test_another_body_is_refused_and_nothing_changes(source, said):
    network = cnn()
    before = network.get_weights()
    with pytest.raises(ValueError, match=said):
        models.take_weights(network, source())
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_longer_network_is_refused():
    def chain(*units):
        return keras.Sequential([keras.Input((4,)), *(layers.Dense(n) for n in units)])

    with pytest.raises(ValueError, match=r"number 3 differs.*no further layer"):
        models.take_weights(chain(4, 4, 4, 2), chain(4, 4))
    with pytest.raises(ValueError, match=r"number 3 differs.*Expected no further layer"):
        models.take_weights(chain(4, 4), chain(4, 4, 4, 2))
