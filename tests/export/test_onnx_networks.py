"""Networks of Keras's own layers as ONNX files and back: equal logits, equal gradients."""

import keras
import keras_networks
import numpy as np
import onnx
import pytest
from keras import layers, ops
from keras_networks import GROUPS, NETWORKS, network_of, sample
from support.cpu import half_precision

import export
from export.plain_copy import plain_copy
from sharedkeras import losses
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.gradients import input_gradient

# Where a process of its own has to write the file, a few kinds stand for all.
ON_JAX = {
    "attention": ["attention", "attention by groups"],
    "convolutions": ["grouped convolution", "depthwise, strided", "transposed"],
}


def gradient(network, x, y):
    def compute(view, x, y, state):
        return input_gradient(view, losses.cross_entropy, y, x, state)[2]

    classifier = FrozenClassifier(network)
    given = (ops.convert_to_tensor(v) for v in (x, y))
    return ops.convert_to_numpy(classifier.apply("gradient", compute, *given, classifier.state))


def assert_round_trip(network, path):
    """Export, read back, compare; every kind of node must come back as Keras computes it."""
    x = sample()
    logits = network.predict(x, verbose=0)
    assert np.ptp(logits, axis=0).min() > 1e-3  # They depend on the image.
    assert export.onnx(network, path, x=x).passed
    domains = {node.domain for node in onnx.load(path).graph.node}
    assert domains <= {"", "ai.onnx"}
    again = export.from_onnx(path)
    scale = np.abs(logits).max()
    np.testing.assert_allclose(again.predict(x, verbose=0), logits, rtol=0, atol=2e-5 * max(scale, 1))
    y = np.arange(len(x), dtype="int32") % keras_networks.CLASSES
    wanted = gradient(network, x, y)
    # A few elements lie where an activation has a kink, on whose side rounding decides.
    gap = np.abs(gradient(again, x, y) - wanted) > 1e-4 * np.abs(wanted).max()
    assert gap.mean() < 1e-3


# tf2onnx tries every order of the letters of each einsum; transformers have attention too.
SLOW = ("attention",)


def marks(group):
    """Return the marks of a group."""
    slow = [pytest.mark.slow] if group in SLOW else []
    return slow + ([] if group in ON_JAX else [pytest.mark.tensorflow])


@pytest.mark.parametrize("group", [pytest.param(name, marks=marks(name)) for name in GROUPS])
def test_layers_of_keras(group, tmp_path):
    kinds = ON_JAX[group] if keras.config.backend() == "jax" else GROUPS[group]
    assert_round_trip(network_of(*kinds), tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_each_by_itself(kind, tmp_path):
    assert_round_trip(network_of(kind), tmp_path / "network.onnx")


POLICIES = (
    *(pytest.param(p, marks=half_precision) for p in ("mixed_float16", "mixed_bfloat16", "float16")),
    "float64",
)


def network_in(policy):
    keras.utils.set_random_seed(0)
    with_policy = {"dtype": policy}
    images = keras.Input((8, 8, 3))
    x = layers.Rescaling(2.0, -1.0, **with_policy)(images)
    x = layers.Conv2D(8, 3, activation="relu", **with_policy)(x)
    x = layers.BatchNormalization(**with_policy)(x)
    x = x + ops.cast(layers.DepthwiseConv2D(3, padding="same", **with_policy)(x), x.dtype)
    inner = keras.Sequential([keras.Input((288,), dtype=x.dtype), layers.Dense(12, **with_policy)])
    return keras.Model(images, layers.Dense(3, **with_policy)(inner(layers.Flatten(**with_policy)(x))))


@pytest.mark.parametrize("policy", POLICIES)
def test_other_precisions_are_exported_in_float32(policy, tmp_path):
    if policy == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is told so when it starts")
    network = network_in(policy)
    x = np.random.default_rng(0).random((9, 8, 8, 3), dtype="float32")
    copy = plain_copy(network)
    assert {str(w.dtype) for w in copy.weights} == {"float32"} and copy.output.dtype == "float32"
    for found, wanted in zip(copy.weights, network.weights, strict=True):
        wanted = ops.convert_to_numpy(ops.cast(wanted, "float32"))
        np.testing.assert_array_equal(ops.convert_to_numpy(found), wanted)
    # The copy computes the same, as far as the precision of the original goes.
    rounding = {"mixed_bfloat16": 2**-6, "float64": 1e-6}.get(policy, 2**-9)
    wanted = np.asarray(ops.convert_to_numpy(ops.cast(network(x), "float32")))
    np.testing.assert_allclose(
        copy.predict(x, verbose=0), wanted, rtol=0, atol=rounding * np.abs(wanted).max()
    )
    if keras.config.backend() == "tensorflow":
        assert export.onnx(network, tmp_path / "network.onnx", x=x).passed
        assert export.saved_model(network, tmp_path / "saved", x=x).passed
        assert export.check_parity(network, tmp_path / "network.onnx", x).passed


def test_a_network_in_float32_is_its_own_copy():
    network = network_in("float32")
    assert plain_copy(network) is network


def test_what_cannot_be_copied_is_named():
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Lambda(lambda x: x, dtype="mixed_float16"), layers.Flatten()]
    )
    with pytest.raises(ValueError, match="cannot be copied"):
        plain_copy(network)
