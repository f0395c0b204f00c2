"""Adversarial weight perturbation: against NumPy, what it leaves alone, what it composes with."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.cpu import half_precision

from sharedkeras import attacks, objectives, training
from sharedkeras.layers import GaussianStochastic

NO_ATTACK = attacks.NoAttack()
RATE, DECAY, GAMMA = 0.3, 0.02, 0.4


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.random((24, 4, 4, 1)).astype("float32"), rng.integers(0, 3, 24).astype("int32")


def linear(bias=True):
    images = keras.Input((4, 4, 1))
    initial = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    head = layers.Dense(3, use_bias=bias, kernel_initializer=initial, bias_initializer=initial)
    return keras.Model(images, head(layers.Flatten()(images)))


def deep(policy=None):
    """A network with statistics of batches and a random layer."""
    images = keras.Input((4, 4, 1))
    x = layers.Dense(6, name="first", dtype=policy)(layers.Flatten()(images))
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(name="bn", momentum=0.5, dtype=policy)(x))
    z, _, _ = GaussianStochastic(4, name="latent", seed=0, dtype=policy)(x)
    return keras.Model(images, layers.Dense(3, dtype=policy)(z))


def trainer_of(network, objective=None, rate=RATE, **options):
    objective = objective or objectives.Standard(attack=NO_ATTACK)
    accumulate = options.pop("accumulate", None)
    trainer = training.RobustTrainer(network, objective, seed=0, **options)
    trainer.compile(keras.optimizers.SGD(rate, gradient_accumulation_steps=accumulate))
    return trainer


def gradient(w, b, x, y):
    """Return the gradient of the mean cross-entropy of a linear network, in float64."""
    logits = x @ w + b
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    error = (p - np.eye(3)[y]) / len(x)
    return x.T @ error, error.sum(axis=0)


def at_the_worst(w, b, x, y):
    """Return the gradient of loss and weight decay at the perturbed weights."""
    g, _ = gradient(w, b, x, y)
    moved = w + GAMMA * np.linalg.norm(w) / np.linalg.norm(g) * g
    g, g_bias = gradient(moved, b, x, y)
    return g + DECAY * moved, g_bias + DECAY * b


@pytest.mark.numeric
@pytest.mark.parametrize("accumulate", [None, 2])
def test_updates_are_those_of_numpy(batch, accumulate):
    """With accumulation each part of a batch has a perturbation of its own."""
    x, y = batch
    network = linear()
    w, b = (numpy(v).astype("float64") for v in network.trainable_variables)
    plain = w
    trainer = trainer_of(network, weight_decay=DECAY, awp_gamma=GAMMA, accumulate=accumulate)
    trainer.fit(x, y, batch_size=6, shuffle=False, verbose=0)
    parts = [(x[i : i + 6].reshape(6, -1), y[i : i + 6]) for i in range(0, 24, 6)]
    for i in range(0, 4, accumulate or 1):
        found = [at_the_worst(w, b, *part) for part in parts[i : i + (accumulate or 1)]]
        w = w - RATE * np.mean([g for g, _ in found], axis=0)
        b = b - RATE * np.mean([g for _, g in found], axis=0)
    np.testing.assert_allclose(numpy(network.trainable_variables[0]), w, atol=1e-5)
    np.testing.assert_allclose(numpy(network.trainable_variables[1]), b, atol=1e-5)
    for part in parts:  # The perturbation matters by far more than the tolerance.
        plain = plain - RATE * gradient(plain, b, *part)[0]
    assert np.abs(plain - w).max() > 1e-2


def test_gamma_of_zero_is_no_perturbation(batch):
    after = []
    for options in ({}, {"awp_gamma": 0.0}):
        keras.utils.set_random_seed(1)
        network = deep()
        trainer_of(network, **options).fit(*batch, batch_size=12, shuffle=False, verbose=0)
        after.append(network.get_weights())
    for a, b in zip(*after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "policy",
    [
        None,
        pytest.param("mixed_bfloat16", marks=[half_precision, pytest.mark.slow]),
        pytest.param("mixed_float16", marks=[half_precision, pytest.mark.slow]),
    ],
)
def test_weights_come_back_and_statistics_move_once(batch, policy):
    """At rate zero nothing is left of a large perturbation, but what one plain pass leaves."""
    objective = objectives.SharedInformation(attack=NO_ATTACK, lam=0.1)
    networks = [deep(policy), deep(policy)]
    networks[1].set_weights(networks[0].get_weights())
    gammas = (0.5, 1e-12)  # The second one moves nothing that a float can hold.
    for network, gamma in zip(networks, gammas, strict=True):
        before = [v.copy() for v in map(numpy, network.trainable_variables)]
        trainer = trainer_of(network, objective, 0.0, awp_gamma=gamma, ema_decay=0.9)
        logs = trainer.fit(*batch, batch_size=24, shuffle=False, verbose=0).history
        assert np.isfinite(logs["loss"][0])
        for a, b in zip(before, network.trainable_variables, strict=True):
            np.testing.assert_array_equal(a, numpy(b))
        for a, b in zip(before, trainer.average.variables, strict=True):
            np.testing.assert_array_equal(a, numpy(b))
    # Both have drawn as many numbers, and normalised two views each.
    seeds = [[v for v in n.non_trainable_variables if "seed" in v.path] for n in networks]
    assert seeds[0]
    for a, b in zip(*seeds, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))
    if policy is None:
        means = batch[0].reshape(24, -1).mean(axis=0) @ numpy(networks[1].get_layer("first").kernel)
        moved = numpy(networks[1].get_layer("bn").moving_mean)
        np.testing.assert_allclose(moved, (1 - 0.5**2) * means, atol=1e-6)


@pytest.mark.parametrize("name", ["trades", "gat", "mma"])
def test_every_kind_of_objective_composes(batch, name):
    """Each loss is the larger one at the perturbed weights."""
    options = {"mma": {"attack": attacks.PGD(epsilon=0.1, step_size=None, steps=1), "examples": 24}}
    losses = []
    for gamma in (0.0, 0.05):
        objective = objectives.get(name)(**options.get(name, {}))
        trainer = trainer_of(linear(), objective, awp_gamma=gamma)
        losses.append(trainer.fit(*batch, batch_size=24, shuffle=False, verbose=0).history["loss"][0])
    assert losses[1] > losses[0] + 1e-3


def test_bad_gamma():
    for bad in (-0.1, float("nan"), "large"):
        with pytest.raises(ValueError, match="awp_gamma"):
            training.RobustTrainer(linear(), objectives.Standard(), awp_gamma=bad)
