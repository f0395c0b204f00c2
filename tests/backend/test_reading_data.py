"""On TensorFlow every data set of `fit`, `evaluate` and `predict` is read with autotuning off."""

import keras
import numpy as np
import pytest

from sharedkeras import data
from sharedkeras.attacks import FGSM
from sharedkeras.objectives import Standard
from sharedkeras.training import RobustTrainer

pytestmark = pytest.mark.tensorflow
N, BATCH = 8, 4


@pytest.fixture(scope="module")
def trainer():
    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    trainer = RobustTrainer(network, Standard(attack=FGSM(epsilon=0.1)))
    trainer.compile(optimizer="sgd")
    return trainer


@pytest.fixture
def read(monkeypatch):
    """A list of whether autotuning is on, one entry for each data set that Keras is about to read."""
    import tensorflow as tf

    strategy = type(tf.distribute.get_strategy())
    distribute, seen = strategy.experimental_distribute_dataset, []

    def spy(self, dataset, options=None):
        seen.append(dataset.options().autotune.enabled)
        return distribute(self, dataset, options)

    monkeypatch.setattr(strategy, "experimental_distribute_dataset", spy)
    return seen


def images():
    generator = np.random.default_rng(0)
    return generator.random((N, 4, 4, 1), "float32"), generator.integers(0, 3, N).astype("int32")


def arrays():
    x, y = images()
    return {"x": x, "y": y, "batch_size": BATCH}


def py_dataset():
    return {"x": data.Batches(*images(), BATCH), "shuffle": False}


def tf_dataset():
    import tensorflow as tf

    return {"x": tf.data.Dataset.from_tensor_slices(images()).batch(BATCH), "shuffle": False}


def generator():
    x, y = images()
    return {"x": ((x[:BATCH], y[:BATCH]) for _ in range(4)), "steps_per_epoch": 2, "shuffle": False}


@pytest.mark.parametrize("source", [arrays, py_dataset, tf_dataset, generator])
def test_training(trainer, read, source):
    trainer.fit(**source(), epochs=2, verbose=0)
    assert read == [False]


@pytest.mark.parametrize("source", [arrays, tf_dataset])
def test_validation(trainer, read, source):
    held_out = source()
    held_out = (held_out["x"], held_out["y"]) if "y" in held_out else held_out["x"]
    trainer.fit(**arrays(), validation_data=held_out, verbose=0)
    assert read == [False, False]


@pytest.mark.parametrize("source", [arrays, py_dataset, tf_dataset])
def test_evaluation(trainer, read, source):
    arguments = source()
    arguments.pop("shuffle", None)
    trainer.evaluate(**arguments, verbose=0)
    assert read == [False]


def test_prediction(trainer, read):
    x, _ = images()
    assert trainer.predict(x, batch_size=BATCH, verbose=0).shape == (N, 3)
    assert read == [False]


def test_keras_own_models_are_left_alone(read):
    """The spy can see the difference."""
    inputs = keras.Input((4, 4, 1))
    keras.Model(inputs, keras.layers.Flatten()(inputs)).predict(images()[0], verbose=0)
    assert read == [None]


def test_the_strategy_stays_what_it_is(trainer):
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    assert isinstance(trainer.distribute_strategy, type(strategy))
    assert trainer.distribute_strategy.num_replicas_in_sync == strategy.num_replicas_in_sync
    assert trainer.distribute_strategy.extended is strategy.extended
