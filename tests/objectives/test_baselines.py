"""The baselines' losses against the official code's values and gradients, and their inner attacks."""

import keras
import numpy as np
import pytest
from keras import ops
from support.gradients import value_and_grads

from sharedkeras import attacks, models, objectives

CASES = range(5)


def loss_and_grads(objective, clean, adv, label):
    """Returns an objective's loss of two views' logits, and its gradients with respect to them."""

    def total(clean, adv):
        outputs = {"clean": {"logits": clean}, "adv": {"logits": adv}}
        return objective.loss({"label": label}, outputs)["loss"]

    return value_and_grads(total, [clean, adv], "float32")


def logits_of(golden_losses, case):
    return (golden_losses[f"adv{case}_{name}"] for name in ("logits_nat", "logits_adv", "labels"))


def check(got, expected_value, expected_grads):
    value, grads = got
    assert value == pytest.approx(float(expected_value), rel=1e-5)
    for grad, expected in zip(grads, expected_grads, strict=True):
        assert np.linalg.norm(grad - expected) <= max(1e-5 * np.linalg.norm(expected), 1e-9)


@pytest.mark.parametrize("beta", [1, 6])
@pytest.mark.parametrize("case", CASES)
def test_trades_is_the_official_loss(golden_losses, case, beta):
    got = loss_and_grads(objectives.TRADES(beta=beta), *logits_of(golden_losses, case))
    expected = [golden_losses[f"adv{case}_trades_beta{beta}_grad_{v}"] for v in ("nat", "adv")]
    check(got, golden_losses[f"adv{case}_trades_beta{beta}_loss"], expected)


@pytest.fixture(scope="module")
def linear():
    """A linear network of two classes, and the direction in which the second gains on the first."""
    inputs = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, logits)
    kernel = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")
    network.set_weights([kernel])
    return models.FrozenClassifier(network), kernel[:, 1] - kernel[:, 0]


@pytest.fixture(scope="module")
def images():
    # Away from 0 and 1, so that no pixel is clipped.
    x = np.random.default_rng(0).uniform(0.3, 0.7, (32, 4, 4, 1)).astype("float32")
    label = (np.arange(32) % 2).astype("int32")
    return x, {"label": ops.convert_to_tensor(label), "index": ops.arange(32, dtype="int32")}


def gain(adv, x, direction):
    return (ops.convert_to_numpy(adv) - x).reshape(len(x), -1) @ direction


def test_trades_attacks_the_divergence(linear, images):
    classifier, direction = linear
    x, targets = images
    attack = attacks.PGD(epsilon=0.1, step_size=0.02, steps=12, random_start="gaussian")
    objective = objectives.TRADES(attack=attack)
    views, _ = objective.views(classifier, ops.convert_to_tensor(x), targets, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(views["clean"]), x)
    # The divergence grows with the distance of the two logits, whichever side the start lies on; the
    # cross-entropy would move all images of a class to one side.
    moved = gain(views["adv"], x, direction)
    np.testing.assert_allclose(np.abs(moved), 0.1 * np.abs(direction).sum(), rtol=1e-4)
    for label in (0, 1):
        assert len(set(np.sign(moved[label::2]))) == 2
