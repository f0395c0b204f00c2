"""Weight averaging: the averages against NumPy, the averaged network's statistics, what is judged."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, objectives, training
from sharedkeras.training.averaging import warmed_decay

PGD = attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)


def numpy(x):
    return ops.convert_to_numpy(x)


def network(batch_norm=True):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    if batch_norm:
        x = keras.layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.random((24, 8, 8, 1)).astype("float32"), rng.integers(0, 3, 24).astype("int32")


def test_decay_rises_to_its_limit():
    values = [float(numpy(warmed_decay(t, 0.9))) for t in (1, 10, 80, 1000)]
    np.testing.assert_allclose(values, [2 / 11, 11 / 20, 0.9, 0.9], rtol=1e-6)


def test_averages_follow_the_weights(batch):
    x, y = batch
    raw = network(batch_norm=False)
    trainer = training.RobustTrainer(raw, objectives.Standard(attack=PGD), ema_decay=0.5)
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    expected = [numpy(v) for v in raw.trainable_variables]
    for update in range(1, 13):
        trainer.fit(x[:12], y[:12], batch_size=12, epochs=1, shuffle=False, verbose=0)
        decay = min(0.5, (1 + update) / (10 + update))
        after = [numpy(v) for v in raw.trainable_variables]
        expected = [decay * e + (1 - decay) * w for e, w in zip(expected, after, strict=True)]
    assert decay == 0.5
    trainer.average.settle([x[:12]])
    twin = trainer.judged
    assert twin is not raw
    for got, wanted, weight in zip(twin.trainable_variables, expected, after, strict=True):
        np.testing.assert_allclose(numpy(got), wanted, atol=1e-6)
        assert np.abs(wanted - weight).max() > 1e-4


def test_statistics_are_those_of_the_averaged_network(batch):
    x, _ = batch
    raw = network()
    average = training.WeightAverage(raw, 0.9)
    raw.get_layer("bn").moving_mean.assign([100.0, 0, 0, 0])
    for variable in average.variables:
        variable.assign(variable + 0.1)
    before = [w.copy() for w in raw.get_weights()]
    average.settle(np.split(x, 2))
    activations = numpy(average.network.get_layer("conv")(x)).reshape(2, -1, 4)
    bn = average.network.get_layer("bn")
    np.testing.assert_allclose(numpy(bn.moving_mean), activations.mean(axis=(0, 1)), rtol=1e-4)
    variance = activations.var(axis=1).mean(axis=0)
    np.testing.assert_allclose(numpy(bn.moving_variance), variance, rtol=1e-4)
    for a, b in zip(raw.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_without_batch_norm_reads_no_images(batch):
    average = training.WeightAverage(network(batch_norm=False), 0.9)

    def images():
        raise AssertionError("read")
        yield

    average.settle(images())
    settled = average.network.trainable_variables
    for variable, value in zip(settled, average.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1, float("nan")])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match="ema_decay"):
        training.WeightAverage(network(), decay)
