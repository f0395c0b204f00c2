"""Networks as people save them, in Keras's `.keras` format."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import objectives, training
from sharedkeras.models import load_network

SHAPE = (5, 4, 2)
X, Y = np.random.default_rng(0).random((8, *SHAPE), dtype="float32"), np.arange(8) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def parts():
    return [layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]


def fitted(optimizer="sgd", loss=LOSS, network=None, **options):
    network = network or keras.Sequential([keras.Input(SHAPE), *parts()])
    network.compile(optimizer, loss, **options)
    network.fit(X, Y, verbose=0)
    return network


def functional():
    inputs = keras.Input(SHAPE)
    x = inputs
    for part in parts():
        x = part(x)
    return keras.Model(inputs, x)


def scheduled():
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10), momentum=0.9)


def own_loss(y, logits):
    return LOSS(y, logits)


def robust():
    network = functional()
    trainer = training.RobustTrainer(network, objectives.Standard())
    trainer.compile(optimizer="sgd")
    trainer.fit(X, Y, verbose=0)
    return network


SAVED = {
    "fitted": fitted,
    "functional": lambda: fitted("adam", network=functional()),
    "schedule": lambda: fitted(scheduled()),
    "average": lambda: fitted(keras.optimizers.Adam(use_ema=True)),
    "metrics": lambda: fitted(metrics=["accuracy"]),
    "own loss": lambda: fitted(loss=own_loss),
    "lambda as loss": lambda: fitted(loss=lambda y, logits: LOSS(y, logits)),
    "compiled only": lambda: compiled(functional()),
    "compiled inside": lambda: keras.Sequential([keras.Input(SHAPE), compiled(functional())]),
    "robust": robust,
}


def compiled(network):
    network.compile("sgd", LOSS)
    return network


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("kind", SAVED)
def test_optimizers_and_losses_in_a_file_do_not_matter(kind, tmp_path):
    network = SAVED[kind]()
    network.save(tmp_path / "network.keras")
    back = load_network(tmp_path / "network.keras")
    assert not back.compiled
    logits = [ops.convert_to_numpy(n(X, training=False)) for n in (network, back)]
    np.testing.assert_array_equal(*logits)


def test_a_lambda_inside_of_a_compiled_network_is_refused(tmp_path):
    halved = layers.Lambda(lambda x: x / 2)
    path = tmp_path / "network.keras"
    fitted(network=keras.Sequential([keras.Input(SHAPE), halved, *parts()])).save(path)
    with pytest.raises(ValueError, match=r"a Lambda layer is Python code .*--trust"):
        load_network(path)
    assert load_network(path, trust=True).output_shape == (None, 3)
