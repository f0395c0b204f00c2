"""Networks of every kind that Keras users write: Sequential, in a list or dict, subclassed, nested."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend, evaluation
from sharedkeras.attacks import APGD, FGSM
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.functional import functional

SHAPE = (6, 5, 2)


class Subclassed(keras.Model):
    """A network without a graph."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x, training=training) if isinstance(part, layers.BatchNormalization) else part(x)
        return x


def numpy(x):
    return ops.convert_to_numpy(x)


def parts(last=None):
    return [
        layers.Conv2D(4, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="bn"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="features"),
        layers.Dense(5, activation=last, name="logits"),
    ]


def settle(network):
    """Return weights that are the same on every backend, and statistics unlike those of a new layer."""
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0.0, 0.4, variable.shape))
    for variable in network.non_trainable_variables:
        variable.assign(rng.uniform(0.1, 0.5, variable.shape))
    return network


def chain(first, found):
    x = first
    for part in found:
        x = part(x)
    return x


def in_a_dict():
    image = keras.Input(SHAPE, name="image")
    return keras.Model({"image": image}, chain(image, parts()))


def in_a_list():
    image = keras.Input(SHAPE)
    return keras.Model([image], [chain(image, parts())])


def subclassed():
    network = Subclassed(parts())
    network(np.zeros((1, *SHAPE), "float32"))
    return network


def nested():
    return keras.Sequential([keras.Input(SHAPE), keras.Sequential(parts())])


KINDS = {
    "sequential": lambda: keras.Sequential([keras.Input(SHAPE), *parts()]),
    "dict": in_a_dict,
    "list": in_a_list,
    "nested": nested,
    "subclassed": subclassed,
}


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).random((7, *SHAPE)).astype("float32")


def plain():
    image = keras.Input(SHAPE)
    return settle(keras.Model(image, chain(image, parts())))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_judged_as_the_plain_functional_network_is(kind, batch):
    expected, network = plain(), settle(KINDS[kind]())
    logits = numpy(FrozenClassifier(expected).predict(batch))
    classifier = FrozenClassifier(network)
    np.testing.assert_allclose(numpy(classifier.predict(batch)), logits, rtol=1e-5, atol=1e-5)
    folded = classifier.folded
    np.testing.assert_allclose(numpy(folded.predict(batch)), logits, rtol=1e-5, atol=1e-5)
    if kind != "subclassed":
        assert classifier.num_classes == folded.num_classes == 5
        assert classifier.input_shape == folded.input_shape == SHAPE
        assert classifier.last_step == "linear"
    y = logits.argmax(axis=1)
    attacks = {"apgd": APGD(epsilon=0.02, steps=10)}
    reports = [evaluation.evaluate(n, batch, y, attacks, verbose=False) for n in (expected, network)]
    assert np.array_equal(reports[0].robust_flags, reports[1].robust_flags)
    assert 0 < reports[0].robust_flags.sum() < len(batch)  # Or the comparison would say little.


class Both(layers.Layer):
    """Two outputs under names whose order is not that of their making."""

    def call(self, x):
        return {"logits": x[:, :3], "embedding": x[:, 3:]}


def test_a_sequential_of_several_outputs_needs_a_choice(batch):
    network = settle(keras.Sequential([keras.Input(SHAPE), *parts(), Both()]))
    with pytest.raises(ValueError, match=r"outputs \['embedding', 'logits'\]; `select` must name"):
        FrozenClassifier(network)
    expected = numpy(network(batch)["logits"])
    found = FrozenClassifier(network, "logits")
    assert found.num_classes == 3
    np.testing.assert_allclose(numpy(found.predict(batch)), expected, rtol=1e-5)


def test_an_only_output_needs_no_choice(batch):
    image = keras.Input(SHAPE)
    network = settle(keras.Model(image, {"scores": chain(image, parts())}))
    expected = numpy(network(batch)["scores"])
    for select in (None, "scores"):
        np.testing.assert_allclose(
            numpy(FrozenClassifier(network, select).predict(batch)), expected, rtol=1e-5
        )


def test_a_layer_alone_is_a_network(batch):
    class Linear(layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(60, 4), initializer="glorot_uniform")

        def call(self, x):
            return ops.reshape(x, (-1, 60)) @ self.matrix

    layer = Linear(name="linear")
    with pytest.raises(ValueError, match="the layer 'linear', which has no weights"):
        evaluation.evaluate(layer, batch, np.zeros(7, int), {"fgsm": FGSM(epsilon=0.1)})
    y = numpy(layer(batch)).argmax(axis=1)
    inputs = keras.Input(SHAPE)
    attacks = {"apgd": APGD(epsilon=0.02, steps=10)}
    reports = [
        evaluation.evaluate(n, batch, y, attacks, verbose=False)
        for n in (layer, keras.Model(inputs, layer(inputs)))
    ]
    np.testing.assert_array_equal(reports[0].robust_flags, reports[1].robust_flags)
    assert 0 < reports[0].robust_flags.sum() < len(batch)


def test_a_sequential_is_folded_and_tapped_by_layer(batch):
    network, twin = settle(KINDS["sequential"]()), plain()
    folded = FrozenClassifier(network).folded
    if not backend.MERGES_PASSES:
        assert "bn" not in [layer.name for layer in folded._plain.layers]
    for layer in ("conv", "bn", "features"):
        expected = numpy(FrozenClassifier(twin).tap(layer).predict(batch))
        for view in (FrozenClassifier(network), folded):
            np.testing.assert_allclose(numpy(view.tap(layer).predict(batch)), expected, atol=1e-5)


def test_new_weights_of_a_sequential_are_read_again(batch):
    network = KINDS["sequential"]()
    classifier = FrozenClassifier(network)
    network.layers[-1].bias.assign([0.0, 1.0, 0.0, 0.0, -2.0])
    classifier.refresh()
    np.testing.assert_allclose(numpy(classifier.predict(batch)), numpy(network(batch)), atol=1e-5)


def test_the_functional_twin_shares_layers():
    network = KINDS["sequential"]()
    twin = functional(network)
    assert twin.get_layer("conv") is network.get_layer("conv")
    assert functional(twin) is twin


@pytest.mark.parametrize(
    ("last", "name"),
    [("sigmoid", "sigmoid"), ("tanh", "tanh"), (None, "linear"), ("softmax", "softmax")],
)
def test_the_last_step_is_found_in_nested_networks(last, name):
    inner = keras.Sequential([keras.Input(SHAPE), *parts(last)])
    outer = keras.Sequential([keras.Input(SHAPE), inner])
    for network in (inner, outer):
        assert FrozenClassifier(network).last_step == name
    image = keras.Input(SHAPE)
    squashed = keras.Model(image, ops.sigmoid(inner(image)))
    assert FrozenClassifier(squashed).last_step == "Sigmoid"


@pytest.mark.parametrize("network", [keras.Sequential([layers.Dense(3)]), Subclassed([layers.Dense(3)])])
def test_a_network_without_weights_is_refused(network):
    with pytest.raises(ValueError, match=r"must be built.*has no weights yet"):
        FrozenClassifier(network)


def test_a_network_of_two_inputs_is_refused():
    first, second = keras.Input((4,)), keras.Input((3,))
    network = keras.Model([first, second], layers.Concatenate()([first, second]))
    with pytest.raises(ValueError, match=r"one input.*with 2 inputs: \[\(None, 4\), \(None, 3\)\]"):
        FrozenClassifier(network)


class Plain(keras.Model):
    """A subclassed network whose `call` knows no `training`, as many are written."""

    def __init__(self):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3)

    def call(self, x):
        return self.dense(self.flatten(x))


def test_a_call_without_training_is_judged():
    network = Plain()
    x = np.random.default_rng(0).random((12, 6, 5, 2)).astype("float32")
    y = keras.ops.convert_to_numpy(network(x)).argmax(axis=1)
    report = evaluation.evaluate(network, x, y, {"fgsm": FGSM(epsilon=0.5)})
    assert report.clean == 1 and report.robust < 1
    assert "randomised-output" not in {finding.code for finding in report.findings}
