"""What people hand to a judge: images on another scale, probabilities, draws from a global generator."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.cpu import half_precision

from sharedkeras import data, evaluation, recipes
from sharedkeras.attacks import APGD, FAB, FGSM, NFGSM, PGD, Square
from sharedkeras.evaluation import sanity
from sharedkeras.evaluation.checks.probabilities import probabilities
from sharedkeras.models import CallableClassifier, FrozenClassifier

SHAPE, CLASSES, COUNT = (6, 7, 2), 4, 48
PGD_ = {"pgd": PGD(epsilon=0.05, step_size=0.02, steps=2)}


def pictures():
    """Bright spots on black, of more ink in later classes; and the classes' means."""
    rng = np.random.default_rng(0)
    y = np.arange(COUNT, dtype="int32") % CLASSES
    ink = np.linspace(0.2, 0.5, CLASSES)[:, None, None, None]
    means = (rng.random((CLASSES, *SHAPE)) < ink).astype("float32")
    x = np.clip(means[y] + rng.normal(0, 0.1, (COUNT, *SHAPE)), 0, 1).astype("float32")
    return x, y, means


def nearest_mean(scale=1, offset=0, threshold=0.5):
    """The network that names the nearest mean of bright pixels, in images scaled so."""
    means = pictures()[2].reshape(CLASSES, -1)
    inputs = keras.Input(SHAPE)
    bright = ops.sigmoid(20 * ((inputs - offset) / scale - threshold))
    dense = layers.Dense(CLASSES)
    network = keras.Model(inputs, dense(layers.Flatten()(bright)))
    dense.set_weights([means.T / 6, -np.square(means).sum(axis=1) / 12])
    return network


SCALES = {
    "bytes": (255, 0, 0.5, "255 * x"),
    "signed": (2, -1, 0.4, "2 * x - 1"),
    "standardised": (1 / 0.43, -0.33 / 0.43, 0.9, "standardised"),
}


@pytest.mark.parametrize("scale", SCALES)
def test_a_network_of_another_range_is_found_and_the_advice_heals_it(scale):
    *scaled, name = SCALES[scale]
    network, (x, y, _) = nearest_mean(*scaled), pictures()
    found = {f.code: f for f in sanity.before(FrozenClassifier(network), x, y)}
    assert found["input-scaling"].severity == "error"
    assert name in found["input-scaling"].message
    report = evaluation.evaluate(network, x, y, PGD_, verbose=False)
    assert report.verdict == "not usable"
    advice = re.search(r"keras\.Sequential\(.*network\]\)", found["input-scaling"].message)[0]
    advice = re.sub(r" \(these figures.*set\)", "", advice)
    whole = eval(advice, {"keras": keras, "network": network})
    assert sanity.before(FrozenClassifier(whole), x, y) == ()
    assert evaluation.evaluate(whole, x, y, PGD_, verbose=False).clean > 0.9


def test_a_file_of_another_range_is_found():
    network, (x, y, _) = nearest_mean(255), pictures()
    found = sanity.before(CallableClassifier(lambda x: network.predict(x, verbose=0)), x, y)
    assert [f.code for f in found] == ["input-scaling"]


@pytest.mark.parametrize("count", [4, COUNT])
@pytest.mark.parametrize("network", ["honest", "wrong labels"])
def test_an_honest_network_is_not_suspected(network, count):
    x, y, _ = pictures()
    y = (y + 1) % CLASSES if network == "wrong labels" else y
    assert sanity.before(FrozenClassifier(nearest_mean()), x[:count], y[:count]) == ()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_untrained_networks_are_not_suspected(classes):
    rng = np.random.default_rng(classes)
    x = rng.random((64, *SHAPE)).astype("float32")
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        hidden = layers.Dense(8, activation="relu")
        network = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), hidden, layers.Dense(classes)])
        for y in (rng.integers(0, classes, 64), (rng.random(64) < 0.3).astype("int32")):
            found = sanity.before(FrozenClassifier(network), x, y)
            assert {f.code for f in found} <= {"zero-gradient"}  # of images where no unit is active


def softmax(z):
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def to_bfloat16(p):
    return ops.convert_to_numpy(ops.cast(ops.cast(p.astype("float32"), "bfloat16"), "float32"))


AS = {
    "float64": (lambda p: p, 1, None),
    "float32": (lambda p: p.astype("float32"), 1, None),
    "float16": (lambda p: p.astype("float16"), 1, None),
    "float16 as float32": (lambda p: p.astype("float16").astype("float32"), 1, None),
    "bfloat16": (to_bfloat16, 1, None),
    "two digits": (lambda p: np.round(p, 2), 1, 2),
    "four digits": (lambda p: np.round(p, 4).astype("float32"), 1, 4),
    "four digits cut off": (lambda p: np.floor(p * 1e4) / 1e4, 1, 4),
    "percent": (lambda p: (100 * p).astype("float32"), 100, None),
    "percent of two digits": (lambda p: np.round(100 * p, 2).astype("float32"), 100, 4),
    "certain": (lambda p: (p == p.max(axis=1, keepdims=True)).astype("float32"), 1, 0),
}


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("form", AS)
def test_probabilities_in_any_form(form, classes):
    write, whole, digits = AS[form]
    for scale in (0.5, 3.0, 8.0):
        z = np.random.default_rng(1).normal(size=(20, classes)) * scale
        assert probabilities(write(softmax(z))) == (whole, digits)


def test_logits_are_no_probabilities():
    rng = np.random.default_rng(2)
    for n, classes in ((3, 2), (1, 10), (20, 2), (20, 10)):
        for _ in range(20):
            z = rng.normal(size=(n, classes))
            for other in (z, 20 * z, z.astype("float16"), np.round(z, 1), 1 / (1 + np.exp(-z))):
                assert probabilities(other) is None


def _endpoint(form):
    weights = np.random.default_rng(0).normal(size=(84, 4))
    weights -= weights.mean(axis=0)

    def logits(x):
        return x.reshape(len(x), -1).astype("float64") @ weights

    return logits, lambda x: AS[form][0](softmax(logits(x)))


@pytest.mark.parametrize("form", ["float64", "float32", "percent"])
def test_an_endpoint_of_probabilities_is_judged_by_their_logarithm(form):
    logits, answer = _endpoint(form)
    x = np.random.default_rng(0).random((20, *SHAPE)).astype("float32")
    y = logits(x).argmax(axis=1)
    attacks = {"square": Square(epsilon=0.05, queries=30)}
    plain, soft = (evaluation.evaluate(f, x, y, attacks, verbose=False) for f in (logits, answer))
    assert 0 < plain.robust < 1
    np.testing.assert_array_equal(soft.flags["square"], plain.flags["square"])
    codes = {f.code: f.severity for f in soft.findings}
    assert codes["logarithm-of-probabilities"] == "info"
    assert "probabilities" not in codes and soft.verdict == plain.verdict


@pytest.mark.parametrize("form", ["four digits", "percent of two digits", "certain"])
def test_an_endpoint_of_rounded_probabilities_is_not_believed(form):
    _, answer = _endpoint(form)
    x = np.random.default_rng(0).random((20, *SHAPE)).astype("float32")
    attacks = {"square": Square(epsilon=0.05, queries=3)}
    report = evaluation.evaluate(answer, x, answer(x).argmax(axis=1), attacks, verbose=False)
    assert report.verdict == "not usable"
    assert {f.code for f in report.findings if f.severity == "error"} == {"probabilities"}


@half_precision
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("last", ["softmax", None])
def test_half_precision(policy, last):
    dense = layers.Dense(20, activation=last, dtype=policy)
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), dense])
    x = np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32")
    view = FrozenClassifier(network)
    y = ops.convert_to_numpy(view.predict(x)).argmax(axis=1)
    found = sanity.before(view, x, y, attacks={})
    assert [f.code for f in found] == (["probabilities"] if last else [])


class Draws(layers.Layer):
    """Adds noise of a generator that belongs to nobody."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def call(self, x):
        return x + 0.1 * self.draw(ops.shape(x)[1:])


def from_keras(shape):
    return keras.random.normal(shape)


def from_numpy(shape):
    return np.random.normal(size=tuple(map(int, shape))).astype("float32")


def from_tensorflow(shape):
    import tensorflow as tf

    return tf.random.normal(shape)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(from_keras, marks=pytest.mark.tensorflow),  # On JAX Keras refuses to build it.
        from_numpy,
        pytest.param(from_tensorflow, marks=pytest.mark.tensorflow),
    ],
)
def test_draws_of_a_global_generator_are_found(draw):
    inputs = keras.Input(SHAPE)
    network = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(Draws(draw)(inputs))))
    x = np.random.default_rng(0).random((8, *SHAPE)).astype("float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    found = sanity.before(FrozenClassifier(network), x, y)
    assert [(f.code, f.severity) for f in found] == [("randomised-output", "error")]
    assert "SeedGenerator" in found[0].message
    assert evaluation.evaluate(network, x, y, PGD_, verbose=False).verdict == "not usable"


def test_a_look_leaves_the_generators_alone():
    generator = keras.random.SeedGenerator(1)
    noise = Draws(lambda shape: keras.random.normal(shape, seed=generator))
    noise.seed_generator = generator
    network = keras.Sequential([keras.Input(SHAPE), noise, layers.Flatten(), layers.Dense(4)])
    before = [ops.convert_to_numpy(v) for v in network.non_trainable_variables]
    x = np.random.default_rng(0).random((8, *SHAPE)).astype("float32")
    found = sanity.before(FrozenClassifier(network), x, np.zeros(8, "int32"))
    assert found[0].code == "randomised-output" and "rand" in found[0].message
    after = [ops.convert_to_numpy(v) for v in network.non_trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)) and before


@pytest.mark.parametrize("epsilon", [8.0, 1.5])
def test_a_radius_in_grey_levels_is_refused(epsilon):
    network, (x, y, _) = nearest_mean(), pictures()
    message = rf"epsilon={epsilon:g}/255. Received: epsilon={epsilon}"
    with pytest.raises(ValueError, match=message):
        evaluation.autoattack(network, x, y, epsilon=epsilon, verbose=False)
    # An attack of such a radius cannot be made, so that nobody trains with one either.
    for make in (APGD, FAB, FGSM, NFGSM, PGD, Square):
        with pytest.raises(ValueError, match=message):
            make(epsilon=epsilon)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(recipes.get("quickstart"), epsilon=epsilon).make_objective()
    large = {"square": Square(norm="l2", epsilon=epsilon, queries=1)}
    assert evaluation.evaluate(network, x, y, large, verbose=False).clean > 0.9


@pytest.mark.parametrize(
    ("scale", "offset", "advice"),
    [(255, 0, "x / 255"), (65535, 0, "x / 65535"), (2, -1, r"\(x \+ 1\) / 2"), (1, 0.5, "0, 1")],
)
def test_images_of_another_range_are_refused_with_what_to_do(scale, offset, advice):
    x = pictures()[0] * np.float32(scale) + np.float32(offset)
    with pytest.raises(ValueError, match=advice):
        data.check_images(x)


def test_an_endpoint_may_refuse_other_images():
    network, (x, y, _) = nearest_mean(255), pictures()

    def endpoint(x):
        assert x.min() >= 0 and x.max() <= 1
        return network.predict(x, verbose=0)

    assert "input-scaling" not in {f.code for f in sanity.before(CallableClassifier(endpoint), x, y)}


@pytest.mark.parametrize("kind", ["list", "pipeline", "generator"])
def test_labels_are_given_once(kind):
    import tensorflow as tf

    x, y, _ = pictures()
    made = {
        "list": lambda: [(x[:24], y[:24]), (x[24:], y[24:])],
        "pipeline": lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        "generator": lambda: (batch for batch in [(x, y)]),
    }
    with pytest.raises(ValueError, match="bring their own labels: leave `y` out"):
        evaluation.evaluate(nearest_mean(), made[kind](), y, PGD_, verbose=False)
