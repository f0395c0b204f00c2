"""The checks of a network before attacks, and of the ends of attacks: each fault has its finding."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from support.golden import M1, M2, images

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, FGSM, PGD, Square
from sharedkeras.evaluation import Finding, sanity
from sharedkeras.evaluation.checks.gradients import judge_checkpoints, judge_end, softened
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models import CallableClassifier, FrozenClassifier

SHAPE = (5, 7, 2)


class Apply(keras.layers.Layer):
    """Applies a function of `ops`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


class Noise(keras.layers.Layer):
    """Adds noise, also outside training."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + self.scale * keras.random.normal(ops.shape(x), seed=self.seed_generator)


def make(*, first=None, last=None, classes=4, shape=SHAPE, latent=False):
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input(shape)
    if first is not None:
        x = first(x)
    x = keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(x))
    if latent:
        x = GaussianStochastic(8, sample_at_inference=True, seed=0)(x)[0]
    x = keras.layers.Dense(classes)(x)
    return keras.Model(inputs, x if last is None else last(x))


def some(network, n=24, shape=SHAPE, grey=True):
    x = np.random.default_rng(0).random((n, *shape)).astype("float32")
    if grey:
        x = (np.rint(x * 255) / 255).astype("float32")
    return x, ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")


def straight_through(x):
    rounded = ops.round(x * 15) / 15
    return x + ops.stop_gradient(rounded - x)


FAULTS = {
    "none": ({}, set()),
    "two classes": ({"classes": 2}, set()),
    "three classes": ({"classes": 3}, set()),
    "noise": ({"first": Noise(0.05)}, {"randomised-output"}),
    "latent": ({"latent": True}, {"randomised-output"}),
    "softmax": ({"last": keras.layers.Softmax()}, {"probabilities"}),
    "sigmoid": ({"last": keras.layers.Activation("sigmoid")}, {"squashed-logits"}),
    "tanh": ({"last": ops.tanh}, {"squashed-logits"}),
    "saturated sigmoid": (
        {"last": lambda z: ops.sigmoid(1e4 * z)},
        {"squashed-logits", "zero-gradient"},
    ),
    "soft cap": ({"last": lambda z: 30.0 * ops.tanh(z / 30.0)}, set()),
    "saturated softmax": (
        {"last": Apply(lambda z: ops.softmax(1e4 * z))},
        {"probabilities", "zero-gradient"},
    ),
    "8 bits": (
        {"first": Apply(lambda x: ops.round(x * 255) / 255)},
        {"quantised-input", "zero-gradient"},
    ),
    "8 levels": ({"first": Apply(lambda x: ops.floor(x * 7) / 7)}, {"quantised-input", "zero-gradient"}),
    "straight-through": ({"first": Apply(straight_through)}, {"quantised-input"}),
    "constant": ({"first": Apply(lambda x: 0 * x)}, {"constant-network"}),
    "constant probabilities": (
        {"first": Apply(lambda x: 0 * x), "last": keras.layers.Softmax()},
        {"constant-network"},
    ),
    "large logits": ({"last": Apply(lambda z: 1e4 * z)}, {"zero-gradient"}),
    "detached": ({"first": Apply(ops.stop_gradient)}, {"zero-gradient"}),
    "broken": (
        {"first": Apply(lambda x: ops.where(x < 2, x, ops.exp(1e3 * x)))},
        {"non-finite-gradient"},
    ),
}


@pytest.mark.numeric
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_findings(fault):
    arguments, expected = FAULTS[fault]
    network = make(**arguments)
    x, y = some(network)
    found = sanity.before(FrozenClassifier(network), x, y)
    assert {f.code for f in found} == expected
    assert len(found) == len(expected)
    for finding in found:
        assert finding.message.endswith(".")
        assert any(c.isdigit() for c in finding.message)
        assert "nan" not in finding.message


@pytest.mark.parametrize("fault", ["none", "noise", "softmax", "8 bits", "constant", "detached"])
def test_one_example(fault):
    arguments, expected = FAULTS[fault]
    network = make(**arguments)
    x, y = some(network, n=1)
    assert {f.code for f in sanity.before(FrozenClassifier(network), x, y)} == expected
    # What is misclassified is not attacked: of its gradient nothing is said.
    codes = {f.code for f in sanity.before(FrozenClassifier(network), x, (y + 1) % 4)}
    assert codes == expected - {"zero-gradient"}


@pytest.mark.numeric
@pytest.mark.parametrize(("name", "make_reference"), [("M1", M1), ("M2", M2)])
def test_reference_networks_have_no_fault(name, make_reference):
    x, y = images(name)
    classifier = FrozenClassifier(make_reference())
    for start in range(0, len(x) - 63, 64):
        assert sanity.before(classifier, x[start:], y[start:]) == ()


def test_colours_that_are_not_8_bit_are_no_quantisation():
    network = make()
    assert sanity.before(FrozenClassifier(network), *some(network, grey=False)) == ()
    coarse = make(first=Apply(lambda x: ops.round(x * 15) / 15))
    found = sanity.before(FrozenClassifier(coarse), *some(coarse, grey=False))
    assert {f.code for f in found} == {"quantised-input", "zero-gradient"}


def test_blindness_of_one_loss_depends_on_the_others():
    network = make(last=Apply(lambda z: 1e6 * z))
    x, y = some(network)
    ce, dlr = APGD(epsilon=0.1, loss="ce"), APGD(epsilon=0.1, loss="dlr-targeted")

    def severities(**attacks):
        found = sanity.before(FrozenClassifier(network), x, y, attacks=attacks)
        return [(f.code, f.severity) for f in found]

    assert severities(ce=ce) == [("zero-gradient", "error")]
    assert severities(ce=ce, dlr=dlr) == [("zero-gradient", "info")]
    assert severities(dlr=dlr) == severities(square=Square(epsilon=0.1)) == []
    found = sanity.before(FrozenClassifier(network), x, y, attacks={"ce": ce, "dlr": dlr})[0]
    assert "cross-entropy for 24 of 24 images" in found.message
    assert "of DLR is not affected" in found.message


def test_averaging_attacks_are_right_for_a_randomised_network():
    network = make(first=Noise(0.05))
    x, y = some(network)
    classifier = FrozenClassifier(network)
    rand = evaluation.ensemble("rand", norm="linf", epsilon=0.1)
    standard = evaluation.ensemble("standard", norm="linf", epsilon=0.1)
    assert [f.severity for f in sanity.before(classifier, x, y, attacks=rand)] == ["info"]
    found = sanity.before(classifier, x, y, attacks=standard)
    assert [f.severity for f in found] == ["error"]
    assert "version='rand'" in found[0].message


def test_callables_are_checked_without_gradients():
    weights = np.random.default_rng(0).normal(size=(70, 4))
    rng = np.random.default_rng(1)

    def codes(function):
        x = np.random.default_rng(0).random((6, *SHAPE)).astype("float32")
        y = function(x).argmax(axis=1)
        return {f.code for f in sanity.before(CallableClassifier(function), x, y)}

    def plain(x):
        return x.reshape(len(x), -1) @ weights

    assert codes(plain) == set()
    assert codes(lambda x: plain(x) + rng.normal(size=(len(x), 4))) == {"randomised-output"}
    assert codes(lambda x: np.ones((len(x), 4))) == {"constant-network"}
    assert codes(lambda x: plain(np.rint(x * 3) / 3)) == {"quantised-input"}
    assert sanity.check(plain, *_labelled(plain), epsilon=0.1) == ()


@pytest.mark.numeric
@pytest.mark.parametrize("least", [0.0, 1e-38, 1e-12])
@pytest.mark.parametrize("count", [4, 24])
def test_what_a_softmax_has_flattened_is_no_step_of_the_input(least, count):
    """`least` is the smallest number that an exponential gives, which differs between CPUs."""
    weights = np.random.default_rng(0).normal(size=(70, 4))
    weights -= weights.mean(axis=0)  # so that images of all classes are among any few

    def flat(x):
        z = 1e5 * x.reshape(len(x), -1).astype("float64") @ weights
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return np.maximum(p / p.sum(axis=1, keepdims=True), least).astype("float32")

    x = np.random.default_rng(0).random((count, *SHAPE)).astype("float32")
    y = flat(x).argmax(axis=1)
    found = {f.code for f in sanity.before(CallableClassifier(flat), x, y)}
    assert found == {"probabilities"}


def test_equal_images_are_no_saturation():
    weights = np.random.default_rng(0).normal(size=(70, 4))
    x = np.repeat(np.random.default_rng(0).random((1, *SHAPE)).astype("float32"), 5, axis=0)

    def stepped(x):
        return np.rint(x * 3).reshape(len(x), -1) @ weights

    found = sanity.before(CallableClassifier(stepped), x, stepped(x).argmax(axis=1))
    assert {f.code for f in found} == {"quantised-input"}


def _labelled(function):
    x = np.random.default_rng(0).random((6, *SHAPE)).astype("float32")
    return x, function(x).argmax(axis=1)


def test_findings_reach_the_report_and_its_verdict():
    clean, saturated = make(), make(last=Apply(lambda z: 1e4 * z))
    attacks = {"fgsm": FGSM(epsilon=0.02), "pgd": PGD(epsilon=0.02, step_size=0.005, steps=5)}
    x, y = some(clean)
    report = evaluation.evaluate(clean, x, y, attacks)
    # Nothing is wrong with the network, but these attacks only bound its robustness from above.
    assert report.verdict == "doubtful"
    assert {f.code for f in report.findings} - {"unique-kills"} == {"upper-bound"}
    adaptive = {"apgd": APGD(epsilon=0.02, steps=5), **attacks}
    assert evaluation.evaluate(clean, x, y, adaptive).verdict == "trustworthy"
    blind = evaluation.evaluate(saturated, x, y, attacks)
    assert blind.verdict == "not usable"
    assert {f.code for f in blind.findings} - {"unique-kills"} == {"zero-gradient", "upper-bound"}
    assert evaluation.evaluate(saturated, x, y, attacks, checks=False).findings == ()
    cascade = evaluation.autoattack(
        saturated, x, y, epsilon=0.02, version="custom", attacks=attacks, batch_size=8
    )
    assert "zero-gradient" in {f.code for f in cascade.findings}


def test_gradients_that_vanish_on_the_way_are_seen(tmp_path):
    # Flat everywhere but at the clean images, which are at most 0.5.
    def trap(x):
        return ops.where(ops.max(x, axis=(1, 2, 3), keepdims=True) > 0.5, ops.round(x), x)

    network = make(first=Apply(trap))
    x = some(network)[0] * np.float32(0.5)
    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    attacks = {"apgd": APGD(epsilon=0.05, steps=5), "pgd": PGD(epsilon=0.05, step_size=0.02, steps=5)}
    arguments = {"resume_from": tmp_path / "journal", "batch_size": 16}
    report = evaluation.evaluate(network, x, y, attacks, **arguments)
    found = {f.code: f for f in report.findings}
    assert "zero-gradient" not in found
    assert found["zero-gradient-at-end"].severity == "error"
    assert "that apgd follows for" in found["zero-gradient-at-end"].message
    way = found["zero-gradient-on-the-way"]
    assert way.severity == "error"
    assert re.search(r"that apgd follows after \d+ iterations for (\d+) of \1 images", way.message)
    again = evaluation.evaluate(network, x, y, attacks, **arguments)
    assert again.findings == report.findings


def test_blindness_is_a_note_where_the_attacks_succeed():
    found = [Finding("zero-gradient", "error", "Blind."), Finding("probabilities", "error", "Soft.")]
    clean = np.arange(40) < 30
    assert softened(found, clean, np.arange(40) < 2) == found
    left = softened(found, clean, np.arange(40) < 1)
    assert [f.severity for f in left] == ["info", "error"]
    assert left[0].message.endswith("all but 1 of 30 points nevertheless.")


def test_shares_decide_the_severity_at_the_end():
    def severity(*counts):
        return [f.severity for f in judge_end({f"a{i}": c for i, c in enumerate(counts)})]

    assert severity((40, 0, 0)) == severity((0, 0, 0)) == severity() == []
    assert severity((40, 2, 0)) == ["info"]
    assert severity((40, 3, 0)) == ["warning"]
    assert severity((40, 21, 0)) == ["error"]
    assert severity((40, 40, 0), (40, 0, 0)) == ["info"]
    assert [f.code for f in judge_end({"a": (40, 0, 1)})] == ["non-finite-gradient"]


def test_the_worst_checkpoint_speaks():
    assert judge_checkpoints({}) == judge_checkpoints({"a": {22: (40, 0, 0), 41: (0, 0, 0)}}) == []
    found = judge_checkpoints(
        {"a": {22: (40, 2, 0), 41: (30, 6, 0), 57: (20, 1, 0)}, "b": {22: (40, 8, 0)}}
    )
    assert [(f.code, f.severity) for f in found] == [("zero-gradient-on-the-way", "warning")]
    assert "that a follows after 41 iterations for 6 of 30 images" in found[0].message
    assert "that b follows after 22 iterations for 8 of 40 images" in found[0].message
    broken = judge_checkpoints({"a": {22: (40, 0, 0), 41: (40, 0, 2)}})
    assert [f.code for f in broken] == ["non-finite-gradient"]
    assert "after 41 iterations for 2 of 40 images" in broken[0].message


def test_losses_of_attacks():
    standard = evaluation.ensemble("standard", norm="linf", epsilon=0.1)
    assert [a.gradient_loss for a in standard.values()] == ["ce", "dlr", "margin", None]
    assert FGSM(epsilon=0.1).gradient_loss == "ce"
    assert APGD(epsilon=0.1, loss=lambda y, z: z[:, 0]).gradient_loss == "margin"


@pytest.mark.slow
def test_extended_check_of_an_honest_network():
    network = make()
    x, y = some(network, n=8)
    assert sanity.check(network, x, y, epsilon=0.05, seed=1) == ()
    assert sanity.check(network, x[:1], y[:1], norm="l2", epsilon=0.5) == ()


def test_extended_check_of_a_network_without_gradients():
    network = make(first=Apply(ops.stop_gradient))
    x, y = some(network, n=16)
    found = {f.code: f for f in sanity.check(network, x, y, epsilon=0.2)}
    assert found["unbounded-attack-fails"].severity == "error"
    assert set(found) <= {"zero-gradient", "unbounded-attack-fails", "noise-stronger"}


def test_extended_check_of_gradients_that_point_away():
    # The gradient's sign is turned, so that attacks walk to safety and noise does not.
    turned = make(first=Apply(lambda x: 2 * ops.stop_gradient(x) - x))
    x, y = some(turned, n=16)
    found = {f.code: f for f in sanity.check(turned, x, y, epsilon=0.3)}
    assert set(found) == {"unbounded-attack-fails", "noise-stronger"}
    assert found["noise-stronger"].severity == "warning"


def test_extended_check_refuses_bad_values():
    network = make()
    x, y = some(network, n=4)
    with pytest.raises(ValueError, match="epsilon"):
        sanity.check(network, x, y, epsilon=0.0)
    with pytest.raises(ValueError, match="Unknown norm"):
        sanity.check(network, x, y, norm="l3")
