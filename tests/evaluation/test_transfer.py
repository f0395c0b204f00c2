"""Transfer: crafted on one network, judged on another."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import evaluation
from sharedkeras.attacks import FGSM, PGD, Attack, AttackResult, CarliniWagner
from sharedkeras.evaluation.transfer import transfer
from sharedkeras.models import FrozenClassifier

ATTACKS = {
    "fgsm": FGSM(epsilon=0.1),
    "pgd": PGD(epsilon=0.1, step_size=0.03, steps=4),
}


def make(seed, name, classes=3, shape=(6, 6, 1)):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes)(x * 4.0), name=name)


def predicted(network, x):
    return ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")


@pytest.fixture(scope="module")
def networks():
    """A target, and a surrogate that resembles it."""
    target, surrogate = make(0, "target"), make(1, "surrogate")
    for to, given in zip(surrogate.trainable_variables, target.trainable_variables, strict=True):
        to.assign(0.5 * to + 0.5 * given)
    return target, surrogate


@pytest.fixture(scope="module")
def data(networks):
    x = np.random.default_rng(0).random((30, 6, 6, 1)).astype("float32")
    y = predicted(networks[0], x)
    y[:4] = (y[:4] + 1) % 3  # misclassified by the target without an attack
    return x, y


def test_an_identical_surrogate_is_the_white_box(networks, data):
    target, _ = networks
    x, y = data
    ours = transfer(target, target, x, y, ATTACKS, batch_size=16, seed=5)
    white = evaluation.evaluate(target, x, y, ATTACKS, batch_size=16, seed=5)
    assert list(ours.flags) == ["clean", "transfer-fgsm", "transfer-pgd"]
    for name in ATTACKS:
        assert np.array_equal(ours.flags[f"transfer-{name}"], white.flags[name])
    assert np.array_equal(ours.flags["clean"], white.flags["clean"])
    assert ours.robust < ours.clean
    np.testing.assert_allclose(ours.adversarial, white.adversarial, atol=1e-6)


def test_it_is_the_target_that_judges(networks, data):
    target, surrogate = networks
    x, y = data
    report = transfer(target, surrogate, x, y, ATTACKS, batch_size=30)
    white = evaluation.evaluate(target, x, y, ATTACKS, batch_size=30)
    assert white.robust <= report.robust < report.clean == 26 / 30
    adv = ops.convert_to_numpy(ATTACKS["pgd"](FrozenClassifier(surrogate), x, y, seed=0))
    expected = (predicted(target, adv) == y) & report.flags["clean"]
    assert np.array_equal(report.flags["transfer-pgd"], expected)
    assert np.array_equal(predicted(target, report.adversarial) == y, report.robust_flags)
    assert np.abs(report.adversarial - x).max() <= 0.1 + 1e-6
    assert not any(f.code in ("more-steps-weaker", "pgd-gap") for f in report.findings)


def test_the_report_says_on_what_it_was_crafted(networks, data):
    target, surrogate = networks
    report = transfer(target, surrogate, *data, ATTACKS, settings={"dataset": "toy"})
    settings = report.settings
    assert settings["network"] == "target" and settings["surrogate"] == "surrogate"
    assert settings["weights_sha256"] == evaluation.weights_digest(target)
    assert settings["surrogate_weights_sha256"] == evaluation.weights_digest(surrogate)
    assert settings["attacks"]["transfer-pgd"]["steps"] == 4
    assert settings["attacks"]["transfer-pgd"]["attack"] == "PGD on surrogate"
    assert settings["dataset"] == "toy"


def test_a_callable_can_be_attacked_and_be_the_surrogate(networks, data):
    target, surrogate = networks

    def endpoint(x):
        assert isinstance(x, np.ndarray)
        return ops.convert_to_numpy(target(x))

    ours = transfer(endpoint, surrogate, *data, ATTACKS)
    same = transfer(target, surrogate, *data, ATTACKS)
    assert np.array_equal(ours.robust_flags, same.robust_flags)
    assert ours.settings["network"] == "endpoint" and ours.settings["weights_sha256"] is None
    noise = {"noise": Noise(epsilon=0.1)}
    report = transfer(target, endpoint, *data, noise)
    assert report.settings["surrogate"] == "endpoint"
    with pytest.raises(ValueError, match="needs gradients"):
        transfer(target, endpoint, *data, ATTACKS)


@dataclasses.dataclass(frozen=True)
class Noise(Attack):
    """Leaves the ball where asked to; claims nothing."""

    epsilon: float
    factor: float = 1.0
    norm: str = "linf"
    black_box = True

    def run(self, classifier, x, y, *, seed, index=None, **_):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], np.shape(x)).astype("float32")
        adv = np.clip(np.asarray(x) + self.factor * self.epsilon * signs, 0, 1)
        nothing = np.zeros(len(adv))
        return AttackResult(adv, nothing.astype(bool), nothing, nothing, nothing.astype("int32"))


def test_outside_of_the_ball_nothing_counts(networks, data):
    target, surrogate = networks
    report = transfer(target, surrogate, *data, {"far": Noise(epsilon=0.1, factor=9.0)})
    assert report.robust == report.clean
    # The surrogate's opinion is not asked for: this attack claims no success at all.
    near = transfer(target, surrogate, *data, {"near": Noise(epsilon=0.9)})
    assert near.robust < near.clean


def test_an_attack_that_fails_on_the_surrogate_transfers_nothing(networks, data):
    target, _ = networks
    constant = make(3, "constant")
    constant.set_weights([np.zeros((36, 3)), np.array([1.0, 0.0, 0.0])])
    x, y = data
    zeros = y == 0
    attack = {"cw": CarliniWagner(steps=3, search_steps=1)}
    report = transfer(target, constant, x[zeros], y[zeros], attack)
    assert report.robust == report.clean
    assert np.array_equal(report.adversarial, x[zeros])


def test_batch_size_and_resuming(networks, data, tmp_path):
    target, surrogate = networks
    one = transfer(target, surrogate, *data, ATTACKS, batch_size=30)
    for _ in range(2):
        other = transfer(target, surrogate, *data, ATTACKS, batch_size=7, resume_from=tmp_path / "a")
        for name in one.flags:
            assert np.array_equal(one.flags[name], other.flags[name])
    # From another surrogate come other images.
    own = transfer(target, target, *data, ATTACKS, batch_size=7, resume_from=tmp_path / "a")
    alone = transfer(target, target, *data, ATTACKS, batch_size=7)
    assert np.array_equal(own.adversarial, alone.adversarial)
    assert not np.array_equal(own.adversarial, one.adversarial)


def test_bad_arguments(networks, data):
    target, _ = networks
    with pytest.raises(ValueError, match="same images"):
        transfer(target, make(0, "wide", classes=4), *data, ATTACKS)
    with pytest.raises(ValueError, match="same images"):
        transfer(target, make(0, "large", shape=(7, 6, 1)), *data, ATTACKS)
    with pytest.raises(ValueError, match="attacks"):
        transfer(target, target, *data, {})
    with pytest.raises(ValueError, match="map names"):
        transfer(target, target, *data, {"pgd": "pgd"})
    with pytest.raises(TypeError, match="network"):
        transfer(target, 3, *data, ATTACKS)
