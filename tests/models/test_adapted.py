"""Networks without a channel axis, of one unit, and of probabilities, as attacks want them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, PGD
from sharedkeras.models import FrozenClassifier, as_classifier, logits_of

SHAPE = (6, 5)
ATTACKS = {"pgd": PGD(epsilon=0.1, step_size=0.05, steps=3)}


def numpy(t):
    return ops.convert_to_numpy(t)


def images(channels=True):
    x = np.random.default_rng(0).random((16, *SHAPE), dtype="float32")
    return x[..., None] if channels else x


def flat(units=4, **arguments):
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(units, **arguments)])


@pytest.mark.parametrize("channels", [True, False])
def test_images_without_a_channel_axis(channels):
    network = flat()
    x = images(channels)
    y = numpy(network(images(False))).argmax(axis=1)
    report = evaluation.evaluate(network, x, y, ATTACKS, verbose=False)
    same = keras.Sequential([keras.Input((*SHAPE, 1)), layers.Reshape(SHAPE), network])
    expected = evaluation.evaluate(same, images(), y, ATTACKS, verbose=False)
    assert report.clean == 1 and 0 < report.robust < 1
    np.testing.assert_array_equal(report.flags["pgd"], expected.flags["pgd"])
    assert report.images.shape == (16, *SHAPE, 1)
    assert report.settings["network"] == network.name
    cascade = evaluation.autoattack(
        network, x, y, epsilon=0.1, version="custom", attacks=ATTACKS, verbose=False
    )
    np.testing.assert_array_equal(cascade.flags["pgd"], report.flags["pgd"])


ENDS = {
    "activation": lambda z, kind, units: layers.Dense(units, activation=kind)(z),
    "layer": lambda z, kind, units: layers.Activation(kind)(layers.Dense(units)(z)),
    "operation": lambda z, kind, units: getattr(ops, kind)(layers.Dense(units)(z)),
    "in float32": lambda z, kind, units: layers.Activation(kind, dtype="float32")(
        layers.Dense(units)(z)
    ),
}


def ending(end, kind, units, nested=False):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((*SHAPE, 1))
    x = layers.Dense(8, activation="tanh")(layers.Flatten()(inputs))
    network = keras.Model(inputs, ENDS[end](x, kind, units))
    if nested:
        network = keras.Sequential([keras.Input((*SHAPE, 1)), layers.Rescaling(1.0), network])
    return network


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("end", ENDS)
def test_logits_of_is_the_network_without_its_last_step(end, kind, nested):
    network = ending(end, kind, 4 if kind == "softmax" else 1, nested)
    logits = logits_of(network)
    assert logits.name == network.name
    again = numpy(getattr(ops, kind)(logits(images())))
    np.testing.assert_allclose(again, numpy(network(images())), rtol=1e-5)
    if kind == "softmax":
        y = numpy(network(images())).argmax(axis=1)
        codes = {f.code for f in evaluation.sanity.before(FrozenClassifier(logits), images(), y)}
        assert codes == set()


def test_logits_of_the_softmax_layer_and_of_one_of_several_outputs():
    inputs = keras.Input((*SHAPE, 1))
    z = layers.Dense(3)(layers.Flatten()(inputs))
    soft = layers.Softmax()(z)
    expected = numpy(keras.Model(inputs, z)(images()))
    np.testing.assert_array_equal(numpy(logits_of(keras.Model(inputs, soft))(images())), expected)
    several = {"a": layers.Dense(2)(z), "soft": soft}
    network = keras.Model(inputs, several)
    np.testing.assert_array_equal(numpy(logits_of(network, "soft")(images())), expected)
    network = keras.Model(inputs, list(several.values()))
    np.testing.assert_array_equal(numpy(logits_of(network, 1)(images())), expected)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, activation="sigmoid")

    def call(self, x, training=False):
        return self.dense(ops.reshape(x, (ops.shape(x)[0], -1)))


def test_logits_of_refuses_what_has_no_end_to_take_off():
    with pytest.raises(ValueError, match="whose last step is 'linear'"):
        logits_of(flat())
    with pytest.raises(ValueError, match="whose last step is 'sigmoid'"):
        logits_of(flat(activation="sigmoid"))
    network = Subclassed()
    network(images())
    with pytest.raises(ValueError, match="graph of `network` is not known"):
        logits_of(network)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("end", [*ENDS, "logit"])
def test_one_unit_is_judged_as_two_logits(end, nested):
    network = ending(end if end in ENDS else "activation", "sigmoid", 1, nested)
    z = numpy(logits_of(network)(images()))
    if end == "logit":
        network = logits_of(network)
    assert as_classifier(network).num_classes == 2
    logits = numpy(as_classifier(network).predict(images()))
    np.testing.assert_allclose(logits, np.concatenate([0 * z, z], axis=1), rtol=1e-5)
    y = (z[:, 0] > 0).astype("int32")
    assert 0 < y.sum() < len(y)
    attacks = {"apgd": APGD(epsilon=0.1, steps=5)}
    report = evaluation.autoattack(
        network, images(), y, epsilon=0.1, version="custom", attacks=attacks, verbose=False
    )
    assert report.clean == 1 and report.robust < 1
    answers = numpy(network(report.adversarial))[:, 0] > (0 if end == "logit" else 0.5)
    np.testing.assert_array_equal(answers == y, report.robust_flags)


def test_one_unit_of_an_unknown_graph_is_refused():
    network = Subclassed()
    network(images())
    with pytest.raises(ValueError, match="at least 2 classes"):
        evaluation.evaluate(network, images(), np.zeros(16, "int32"), ATTACKS, verbose=False)
