"""The stochastic layer: what it computes, when it samples, that it survives saving."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras.layers import GaussianStochastic


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(500, 6)).astype("float32")


def test_mean_and_scale_are_the_two_halves_of_one_dense_layer(features):
    layer = GaussianStochastic(4, shift=-1.0, floor=0.01)
    z, mean, scale = (numpy(t) for t in layer(features))
    kernel, bias = (numpy(w) for w in layer.projection.weights)
    raw = features @ kernel + bias
    np.testing.assert_allclose(mean, raw[:, :4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scale, np.log1p(np.exp(raw[:, 4:] - 1.0)) + 0.01, rtol=1e-4)
    assert np.array_equal(z, mean)


def test_log_variance(features):
    layer = GaussianStochastic(4, shift=-2.0, floor=0.0, parameterisation="log_variance")
    _, _, scale = layer(features)
    kernel, bias = (numpy(w) for w in layer.projection.weights)
    expected = np.exp(0.5 * ((features @ kernel + bias)[:, 4:] - 2.0))
    np.testing.assert_allclose(numpy(scale), expected, rtol=1e-4)


def test_samples_have_the_stated_mean_and_scale(features):
    layer = GaussianStochastic(3, seed=1)
    same = np.repeat(features[:1], 20000, axis=0)
    z, mean, scale = (numpy(t) for t in layer(same, training=True))
    error = scale[0] / np.sqrt(len(z))
    assert np.all(np.abs(z.mean(axis=0) - mean[0]) < 5 * error)
    np.testing.assert_allclose(z.std(axis=0), scale[0], rtol=0.03)


def test_two_calls_draw_independently(features):
    layer = GaussianStochastic(3, seed=1)
    one, _, scale = layer(features, training=True)
    two, _, _ = layer(features, training=True)
    noise = numpy((one - two) / scale)
    assert noise.std() == pytest.approx(np.sqrt(2), rel=0.1)


def test_sampling_at_inference_is_an_option(features):
    layer = GaussianStochastic(3, sample_at_inference=True, seed=1)
    z, mean, _ = layer(features)
    assert numpy(ops.abs(z - mean)).min(axis=1).max() > 0


def test_initial_scale_is_small_but_not_zero(features):
    _, _, scale = GaussianStochastic(50)(features * 0)
    np.testing.assert_allclose(numpy(scale), 0.1, atol=1e-3)


def test_gradients_reach_mean_and_scale(features):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(1)(GaussianStochastic(3, seed=1)(inputs)[0]))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = [numpy(w) for w in model.layers[1].projection.weights]
    model.fit(features, features[:, :1], epochs=1, verbose=0)
    moved = np.abs(numpy(model.layers[1].projection.weights[0]) - before[0])
    assert moved[:, :3].max() > 1e-4
    assert moved[:, 3:].max() > 1e-6


def test_round_trip(tmp_path, features):
    inputs = keras.Input((6,))
    layer = GaussianStochastic(
        3, shift=-1.5, floor=1e-3, parameterisation="log_variance", seed=7, name="latent"
    )
    model = keras.Model(inputs, list(layer(inputs)))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    config = loaded.get_layer("latent").get_config()
    assert {k: config[k] for k in ("units", "shift", "floor", "parameterisation", "seed")} == {
        "units": 3,
        "shift": -1.5,
        "floor": 1e-3,
        "parameterisation": "log_variance",
        "seed": 7,
    }
    for a, b in zip(model(features), loaded(features), strict=True):
        assert np.array_equal(numpy(a), numpy(b))


@pytest.mark.parametrize(
    "arguments",
    [{"units": 0}, {"units": 2.5}, {"units": 2, "floor": -1}, {"units": 2, "parameterisation": "x"}],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        GaussianStochastic(**arguments)
