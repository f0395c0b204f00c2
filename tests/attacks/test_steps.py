"""The steps of PGD: the momentum iterative method against NumPy, and steps of one's own."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend
from sharedkeras.attacks import PGD, steps
from sharedkeras.attacks.attack import settings
from sharedkeras.math import norms
from sharedkeras.models import FrozenClassifier

SHAPE = (3, 4, 2)


def numpy(t):
    return ops.convert_to_numpy(t)


@pytest.fixture(scope="module")
def linear():
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=3).astype("float32")
    images = keras.Input(SHAPE)
    network = keras.Model(images, layers.Dense(3)(layers.Flatten()(images)))
    network.layers[-1].set_weights([weights, bias])
    x = rng.uniform(0.2, 0.8, size=(6, *SHAPE)).astype("float32")
    return FrozenClassifier(network), x, np.array([0, 1, 2, 0, 1, 2], "int32"), (weights, bias)


def reference(x, y, weights, bias, *, norm, epsilon, step_size, count, decay):
    """MI-FGSM as its paper has it (algorithm 1 and equation 8), in float64."""
    clean = x.reshape(len(x), -1).astype("float64")
    adv, g = clean.copy(), np.zeros_like(clean)
    for _ in range(count):
        logits = adv @ weights.astype("float64") + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient = (p - np.eye(3)[y]) @ weights.T
        g = decay * g + gradient / np.abs(gradient).sum(axis=1, keepdims=True)
        if norm == "linf":
            adv = np.clip(adv + step_size * np.sign(g), clean - epsilon, clean + epsilon)
        else:
            adv = adv + step_size * g / np.linalg.norm(g, axis=1, keepdims=True)
            size = np.linalg.norm(adv - clean, axis=1, keepdims=True)
            adv = clean + (adv - clean) * np.minimum(1.0, epsilon / size)
        adv = np.clip(adv, 0.0, 1.0)
    return adv.reshape(x.shape)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_momentum_is_that_of_the_paper(linear, norm, decay):
    classifier, x, y, given = linear
    values = {"norm": norm, "epsilon": 0.3, "step_size": 0.08}
    attack = PGD(steps=7, random_start=None, step=steps.Momentum(decay=decay), **values)
    want = reference(x, y, *given, count=7, decay=decay, **values)
    np.testing.assert_allclose(numpy(attack(classifier, x, y, seed=0)), want, atol=1e-5)


def test_momentum_carries_over_what_turns_the_gradient():
    """After two gradients one that turns, however large, turns a step without momentum only."""
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(6, *SHAPE)).astype("float32"))
    norm = norms.get("l2")
    for step, turned in (
        (steps.Momentum(), 1.0),
        (steps.Momentum(decay=0.0), -1.0),
        (steps.Steepest(), -1.0),
    ):
        memory = step.begin(x)
        for gradient in (x, x, -100.0 * x):
            direction, memory = step.direction(norm, gradient, memory)
        np.testing.assert_allclose(numpy(direction), turned * numpy(norm.direction(x)), atol=1e-5)


def test_a_zero_gradient_stays(linear):
    classifier, x, y, _ = linear
    attack = PGD(step="momentum", random_start=None, steps=3)
    adv = numpy(attack(classifier, x, y, seed=0, loss=lambda y, z: 0.0 * z[:, 0]))
    np.testing.assert_array_equal(adv, x)


@pytest.mark.parametrize("keep_best", [False, True])
def test_restarts_and_graphs_carry_it_too(linear, keep_best):
    classifier, x, y, _ = linear
    attack = PGD(epsilon=0.2, step_size=0.05, steps=4, step="momentum", keep_best=keep_best, restarts=2)
    outside = attack.run(classifier, x, y, seed=3)
    once = dataclasses.replace(attack, restarts=1).run(classifier, x, y, seed=3)
    kept = numpy(once.success)
    assert kept.any() and (numpy(outside.best_loss) >= numpy(once.best_loss)).all()
    np.testing.assert_array_equal(numpy(outside.adversarial)[kept], numpy(once.adversarial)[kept])
    graph = backend.compile(lambda x, y: attack(classifier, x, y, seed=3))
    inside = numpy(graph(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    np.testing.assert_allclose(inside, numpy(outside.adversarial), atol=1e-5)


def test_names_and_values():
    assert steps.get("momentum") == steps.Momentum() != steps.Momentum(decay=0.5)
    written = settings(PGD(step=steps.Momentum(decay=np.float32(0.5))))
    assert json.loads(json.dumps(written))["step"] == {"decay": 0.5, "name": "momentum"}
    assert settings(PGD())["step"] == "steepest"
    assert "Momentum(decay=0.5)" in repr(PGD(step=steps.Momentum(decay=0.5)))
    for decay in (-0.1, float("nan"), "much"):
        with pytest.raises(ValueError, match="Received: decay="):
            steps.Momentum(decay=decay)


@dataclasses.dataclass(frozen=True)
class Backwards(steps.Step):
    """A step of one's own, without memory: away from the gradient."""

    name: str = dataclasses.field(default="backwards", init=False)

    def direction(self, norm, gradient, memory):
        return -norm.direction(gradient), memory


def test_a_step_of_ones_own(linear):
    classifier, x, y, _ = linear
    attack = PGD(epsilon=0.1, step_size=0.02, steps=3, random_start=None)
    forth, back = (
        numpy(
            dataclasses.replace(attack, step=step)(classifier, x, y, seed=0, loss=lambda y, z: z[:, 0])
        )
        for step in ("steepest", Backwards())
    )
    np.testing.assert_allclose(forth - x, x - back, atol=1e-6)
