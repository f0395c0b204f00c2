"""Objectives: equation 16 term by term, the contract of all, bad input."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, losses, models, objectives, training

PGD = attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)


def number(x):
    return float(ops.convert_to_numpy(x))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(2, 3, 16, 8)).astype("float32")
    outputs = {}
    for view, (z, mean, raw) in zip(("clean", "adv"), arrays, strict=True):
        logits = rng.normal(size=(16, 4)).astype("float32")
        outputs[view] = {"logits": logits, "latent": (z, mean, np.exp(raw))}
    return {"label": rng.integers(0, 4, 16).astype("int32")}, outputs


def test_shared_information_is_equation_16(batch):
    targets, outputs = batch
    objective = objectives.SharedInformation(attack=PGD, alpha=0.3, beta=2.0, lam=0.7)
    terms = {k: number(v) for k, v in objective.loss(targets, outputs).items()}
    label = targets["label"]
    clean, adv = outputs["clean"], outputs["adv"]
    ce_adv = number(ops.mean(losses.cross_entropy(label, adv["logits"])))
    ce_clean = number(ops.mean(losses.cross_entropy(label, clean["logits"])))
    (z1, m1, s1), (z2, m2, s2) = clean["latent"], adv["latent"]
    one = np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5
    two = np.log(s1 / s2) + (s2**2 + (m1 - m2) ** 2) / (2 * s1**2) - 0.5
    skl = np.mean(np.sum((one + two) / 2, axis=1))
    dependence = number(losses.hsic(z1, z2))
    assert terms["ce_adv"] == pytest.approx(ce_adv, rel=1e-5)
    assert terms["ce_clean"] == pytest.approx(ce_clean, rel=1e-5)
    assert terms["skl"] == pytest.approx(skl, rel=1e-5)
    assert terms["hsic"] == pytest.approx(dependence, rel=1e-5)
    expected = 0.3 * ce_adv + 0.7 * ce_clean + 2.0 * skl - 0.7 * dependence
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_beta_follows_its_schedule(batch):
    targets, outputs = batch
    ramp = training.ExponentialRamp(1e-3, 4.0, 10, 100)
    objective = objectives.SharedInformation(attack=PGD, beta=ramp, lam=0.0, alpha=0.0)

    def weight(epoch):
        terms = {k: number(v) for k, v in objective.loss(targets, outputs, epoch=epoch).items()}
        return (terms["loss"] - terms["ce_clean"]) / terms["skl"]

    for epoch, beta in ((0, 1e-3), (9, 1e-3), (10, 1e-3), (55, np.sqrt(4e-3)), (100, 4), (119, 4)):
        # The weight is read off a difference of losses, which costs digits where beta is small.
        assert weight(epoch) == pytest.approx(beta, rel=1e-3)
    assert weight(None) == pytest.approx(4.0, rel=1e-4)


def test_ramp_scales_with_the_run():
    ramp = training.ExponentialRamp.paper(4.0, epochs=12)
    assert (ramp.begin, ramp.end) == (1.0, 10.0)
    assert number(ramp(1)) == pytest.approx(1e-3)
    assert number(ramp(10)) == pytest.approx(4.0)


def test_standard_is_the_adversarial_cross_entropy(batch):
    targets, outputs = batch
    value = number(objectives.Standard(attack=PGD).loss(targets, outputs)["loss"])
    expected = number(ops.mean(losses.cross_entropy(targets["label"], outputs["adv"]["logits"])))
    assert value == pytest.approx(expected, rel=1e-6)


REACH = {"mma": 1.05 * 1.5}  # How far a view may lie outside the attack's own ball, in units of it.


VARIANTS = [
    ("shared-information", options)
    for options in (
        {"alpha": 1.0, "beta": 0.0, "lam": 0.0},
        {"estimator": "mige"},
        {"estimator": "mine"},
        {"location": "softmax"},
        {"estimator": "mine", "location": "softmax"},
        {"strengths": (1.0, 0.5)},
        {"concatenated": True, "strengths": (0.5, 1.0)},
        {"shared_noise": True},
    )
]


@pytest.mark.parametrize(("name", "options"), [*((n, {}) for n in objectives.names()), *VARIANTS])
def test_contract(name, options):
    own = objectives.get(name)().attack
    attack = dataclasses.replace(own, epsilon=0.1)
    objective = objectives.get(name)(attack=attack, label_smoothing=0.1, **options)
    assert isinstance(objective, objectives.Objective)
    network = models.build("cnn", input_shape=(16, 16, 1), num_classes=3, latent_dim=4)
    x = np.random.default_rng(0).random((6, 16, 16, 1)).astype("float32")
    y = np.array([0, 1, 2, 0, 1, 2], "int32")
    index = np.arange(6, dtype="int32")
    targets = {"label": ops.convert_to_tensor(y), "index": ops.convert_to_tensor(index)}
    classifier = models.FrozenClassifier(network)
    variables = [ops.convert_to_numpy(v) for v in objective.variables]
    views, after = objective.views(classifier, ops.convert_to_tensor(x), targets, 0)
    # All views in one batch, or each by its name.
    last = "all" if options.get("concatenated") else "adv"
    adv = ops.convert_to_numpy(views[last])[-6:]
    assert np.abs(adv - x).max() <= 0.1 * REACH.get(name, 1.0) + 1e-6
    assert adv.min() >= 0
    assert adv.max() <= 1
    # The same seed and the same memory give the same views.
    for variable, value in zip(objective.variables, variables, strict=True):
        variable.assign(value)
    again, _ = objective.views(classifier, ops.convert_to_tensor(x), targets, 0)
    np.testing.assert_array_equal(adv, again[last][-6:])
    outputs = {}
    for view, images in views.items():
        z, mean, scale = network.get_layer("latent").output
        full = keras.Model(network.inputs, {"logits": network.output, "latent": (z, mean, scale)})
        outputs[view] = full(images)
    terms = objective.loss(after, outputs)
    assert set(terms) == {"loss", *objective.terms}
    assert all(np.isfinite(number(v)) for v in terms.values())
    plain = dataclasses.replace(objective, label_smoothing=0.0).loss(after, outputs)
    assert number(plain["loss"]) != pytest.approx(number(terms["loss"]), rel=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": 1.5},
        {"alpha": -0.1},
        {"beta": -1.0},
        {"lam": -1.0},
        {"beta": float("nan")},
        {"neighbours": 0},
    ],
)
def test_bad_weights(arguments):
    with pytest.raises(ValueError, match="Received"):
        objectives.SharedInformation(attack=PGD, **arguments)


@pytest.mark.parametrize("arguments", [(0.0, 4.0, 1, 2), (1e-3, -4.0, 1, 2), (1e-3, 4.0, 2, 2)])
def test_bad_ramp(arguments):
    with pytest.raises(ValueError, match="ramp"):
        training.ExponentialRamp(*arguments)


def test_unknown_objective_lists_the_known_ones():
    with pytest.raises(ValueError, match="shared-information"):
        objectives.get("nothing")
