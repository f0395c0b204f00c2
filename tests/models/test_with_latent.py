"""The stochastic layer in networks that lack it, and networks built by a function of one's own."""

import sys
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import attacks, models, objectives, training

SHAPE, CLASSES = (8, 8, 3), 4
X = np.random.default_rng(0).random((12, *SHAPE), dtype="float32")
Y = np.arange(12) % CLASSES


def plain(input_shape=SHAPE, num_classes=CLASSES, last="linear"):
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, activation="relu", data_format="channels_last", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="features")(x)
    return keras.Model(inputs, layers.Dense(num_classes, last, name="top")(x), name="mine")


def sequential():
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(CLASSES)], name="s"
    )


@pytest.mark.parametrize("make", [plain, sequential])
def test_the_layer_stands_before_the_last_dense_layer(make):
    given = make()
    before = given.get_weights()
    network = models.with_latent(given, 6, latent_options={"shift": 0.0})
    latent = network.get_layer("latent")
    assert (latent.units, latent.shift, network.name) == (6, 0.0, given.name)
    assert network.layers[-1].name == given.layers[-1].name
    assert network.layers[-1].kernel.shape == (6, CLASSES)
    z, mean, scale = latent(np.ones((2, latent.projection.kernel.shape[0]), "float32"), training=False)
    assert z.shape == mean.shape == scale.shape == (2, 6)
    # Outside training the latent is its mean, so the logits are one function of the image.
    logits = [ops.convert_to_numpy(network(X, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*logits)
    for a, b in zip(before, given.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    kept = [
        w for w in network.get_weights() if any(w.shape == b.shape and (w == b).all() for b in before)
    ]
    assert len(kept) >= 2


def test_it_trains_by_the_objective_that_reads_it():
    network = models.with_latent(plain(), 6)
    attack = attacks.FGSM(epsilon=0.1)
    trainer = training.RobustTrainer(network, objectives.SharedInformation(attack=attack, beta=0.1))
    trainer.compile("sgd")
    before = [np.array(w) for w in network.get_weights()]
    logs = trainer.fit(X, Y, batch_size=6, epochs=1, verbose=0).history
    assert logs["skl"][0] > 0
    changed = [np.abs(a - b).max() > 0 for a, b in zip(before, network.get_weights(), strict=True)]
    assert sum(changed) >= 5  # Both of conv, projection, top; the generator's state is the last.


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: plain(last="softmax"), "logits_of"),
        (lambda: keras.Sequential([keras.Input(SHAPE), layers.Flatten()]), "dense layer of logits"),
        (lambda: keras.Sequential([keras.Input(SHAPE), layers.Dense(3)]), r"\(batch, d\)"),
        (lambda: type("Own", (keras.Model,), {"call": lambda self, x: x})(), "functional or Sequential"),
    ],
)
def test_networks_without_a_place_for_it(make, words):
    with pytest.raises(ValueError, match=words):
        models.with_latent(make(), 6)


@pytest.fixture
def module(monkeypatch):
    found = types.ModuleType("my_networks")
    found.plain = plain
    found.other_classes = lambda input_shape, num_classes: plain(input_shape, num_classes + 1)
    found.other_images = lambda input_shape, num_classes: plain((9, 9, 3), num_classes)
    found.nothing = lambda input_shape, num_classes: None
    monkeypatch.setitem(sys.modules, "my_networks", found)


def test_a_function_of_ones_own_builds_the_network(module):
    built = models.build("my_networks:plain", input_shape=SHAPE, num_classes=7)
    assert built.output_shape == (None, 7) and "latent" not in {layer.name for layer in built.layers}
    size = models.latent_dim_of("my_networks:plain")
    built = models.build("my_networks:plain", input_shape=SHAPE, num_classes=7, latent_dim=size)
    assert built.get_layer("latent").units == size == 256


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("my_networks:absent", ValueError, "must have the function 'absent'"),
        ("my_networks:other_classes", ValueError, "4 logits"),
        ("my_networks:other_images", ValueError, r"images \(8, 8, 3\)"),
        ("my_networks:nothing", ValueError, "NoneType"),
        ("no_such_module:plain", ImportError, "no_such_module"),
        ("my networks:plain", ValueError, "Unknown network"),
        ("my_networks:", ValueError, "module:function"),
    ],
)
def test_functions_that_do_not_fit(module, name, error, words):
    with pytest.raises(error, match=words):
        models.build(name, input_shape=SHAPE, num_classes=CLASSES)
