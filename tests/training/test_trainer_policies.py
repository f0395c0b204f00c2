"""Policies, floatx and data formats: trained as in float32, or refused by name."""

import keras
import numpy as np
import pytest
from keras import ops
from support.cpu import half_precision

from sharedkeras import attacks, models, objectives, training

RNG = np.random.default_rng(0)
X, Y = RNG.random((16, 16, 16, 1), dtype="float32"), np.arange(16) % 4


@pytest.fixture(autouse=True)
def _as_before():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    data_format = keras.config.image_data_format()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)


def trained(weights=None):
    options = {"latent_dim": 4, "latent_options": {"seed": 0}}
    network = models.build("cnn", input_shape=(16, 16, 1), num_classes=4, **options)
    if weights is not None:
        network.set_weights(weights)
    before = network.get_weights()
    attack = attacks.PGD(epsilon=0.1, step_size=0.05, steps=1)
    objective = objectives.SharedInformation(attack=attack, beta=0.1)
    trainer = training.RobustTrainer(network, objective)
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    logs = trainer.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history
    return trainer, {name: value[0] for name, value in logs.items()}, before


@half_precision
@pytest.mark.parametrize(
    "policy", [pytest.param("mixed_float16", marks=pytest.mark.slow), "mixed_bfloat16"]
)
def test_mixed_precision_trains_as_float32_with_losses_in_full(policy):
    _, expected, weights = trained()
    keras.config.set_dtype_policy(policy)
    trainer, logs, _ = trained(weights)
    assert trainer.network.get_layer("conv1").compute_dtype == policy.removeprefix("mixed_")
    assert logs["loss"] == pytest.approx(expected["loss"], rel=0.01)
    scaled = isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    outputs = trainer({"clean": X, "adv": X})
    kinds = {keras.backend.standardize_dtype(t.dtype) for t in keras.tree.flatten(outputs)}
    assert kinds == {"float32"}
    # The network decides, not the policy of the moment.
    keras.config.set_dtype_policy("float32")
    again = training.RobustTrainer(trainer.network, trainer.objective)
    again.compile("sgd")
    assert isinstance(again.optimizer, keras.optimizers.LossScaleOptimizer) == scaled


def test_what_is_kept_of_a_mixed_network_computes_in_float32():
    with models.computing_in("mixed_bfloat16"):
        network = models.build("cnn", input_shape=(16, 16, 1), num_classes=4)
    assert keras.config.dtype_policy().name == "float32"
    kept = models.in_full_precision(network)
    assert {layer.compute_dtype for layer in network.layers[1:]} == {"bfloat16"}
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    same = models.build("cnn", input_shape=(16, 16, 1), num_classes=4)
    same.set_weights(network.get_weights())
    np.testing.assert_array_equal(*(ops.convert_to_numpy(n(X)) for n in (kept, same)))
    assert models.in_full_precision(same) is same
    for ema_decay in (None, 0.9):
        trainer = training.RobustTrainer(network, objectives.Standard(), ema_decay=ema_decay)
        assert len(trainer.trainable_variables) == len(network.trainable_variables)
        assert {layer.compute_dtype for layer in trainer.judged.layers} == {"float32"}
        network.set_weights([w + 1 for w in network.get_weights()])
        assert trainer.network is network
        for now, found in zip(network.get_weights(), trainer.plain.get_weights(), strict=True):
            np.testing.assert_array_equal(found, now)


def test_images_reach_a_float32_network_as_they_are_under_a_mixed_policy():
    network = models.build("cnn", input_shape=(16, 16, 1), num_classes=4)
    expected = ops.convert_to_numpy(network(X))
    keras.config.set_dtype_policy("mixed_float16")
    trainer = training.RobustTrainer(network, objectives.Standard())
    found = trainer({"adv": X})["adv"]["logits"]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.tensorflow
def test_float64_stays_float64():
    _, expected, weights = trained()
    keras.config.set_floatx("float64")
    trainer, logs, _ = trained(weights)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert trainer({"adv": X})["adv"]["logits"].dtype == "float64"


@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX alone keeps float32 without a word")
def test_float64_that_the_backend_lacks_is_refused():
    network = models.build("cnn", input_shape=(16, 16, 1), num_classes=4)
    keras.config.set_floatx("float64")
    with (
        pytest.warns(UserWarning, match="float64"),
        pytest.raises(ValueError, match="JAX_ENABLE_X64"),
    ):
        training.RobustTrainer(network, objectives.Standard())


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_half_precision_weights_are_refused(floatx):
    keras.config.set_floatx(floatx)
    with pytest.raises(ValueError, match="mixed_float16"):
        trained()


def test_networks_are_channels_last_whatever_the_configuration():
    arguments = {"input_shape": (16, 16, 3), "num_classes": 4, "latent_dim": 4}
    for name in ("cnn", "resnet18", "resnet50", "wrn-10-1"):
        keras.config.set_image_data_format("channels_last")
        usual = models.build(name, **arguments).get_config()
        keras.config.set_image_data_format("channels_first")
        assert models.build(name, **arguments).get_config() == usual


def test_channels_first_changes_no_number():
    _, expected, weights = trained()
    keras.config.set_image_data_format("channels_first")
    _, logs, _ = trained(weights)
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-5)


def test_sizes_of_numpy():
    options = {"num_classes": np.int64(4), "latent_dim": np.int32(8)}
    network = models.build("cnn", input_shape=np.array([16, 16, 3]), **options)
    assert network.output_shape == (None, 4)
    for bad in ({"num_classes": 1}, {"num_classes": 2.5}, {"latent_dim": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            models.build("cnn", **{"input_shape": (16, 16, 3), "num_classes": 4, **bad})
