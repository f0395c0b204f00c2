"""Networks around a SavedModel: `keras.layers.TFSMLayer`, alone and inside of others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import export
from sharedkeras import evaluation
from sharedkeras.attacks import PGD, Square
from sharedkeras.models import load_network

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="Keras has the layer on TensorFlow only."
)
SHAPE, ATTACKS = (6, 5, 1), {"pgd": PGD(epsilon=0.1, step_size=0.05, steps=3)}


def functional(layer):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layer(inputs))


WAYS = {
    "alone": lambda layer: layer,
    "functional": functional,
    "sequential": lambda layer: keras.Sequential([keras.Input(SHAPE), layer]),
    "nested": lambda layer: functional(keras.Sequential([keras.Input(SHAPE), layer])),
}
# Of Keras's own export the attribute is a function of a tensor, the signature gives a dict.
ENDPOINTS = {
    "keras": ("serve", None),
    "keras signature": ("serving_default", None),
    "ours": ("serving_default", "logits"),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Directories of SavedModels, images, the network's own predictions, its flags and logits."""
    root = tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5)]
    network = keras.Sequential([keras.Input(SHAPE), *parts, layers.Flatten(), layers.Dense(3)])
    network.export(root / "keras", verbose=False)
    export.saved_model(network, root / "ours")
    x = np.random.default_rng(0).random((16, *SHAPE), dtype="float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    report = evaluation.evaluate(network, x, y, ATTACKS, verbose=False)
    assert report.clean == 1 and 0 < report.robust < 1
    return root, x, y, report


def layer_of(root, endpoint):
    name, select = ENDPOINTS[endpoint]
    return keras.layers.TFSMLayer(str(root / endpoint.split()[0]), call_endpoint=name), select


@pytest.mark.parametrize(
    ("way", "endpoint"),
    [
        *(("alone", endpoint) for endpoint in ENDPOINTS),
        ("functional", "keras"),
        ("functional", "ours"),
        ("sequential", "keras signature"),
        ("nested", "keras"),
    ],
)
def test_judged_as_the_network_that_was_saved(way, endpoint, judged):
    root, x, y, expected = judged
    layer, select = layer_of(root, endpoint)
    network = WAYS[way](layer)
    report = evaluation.evaluate(network, x, y, ATTACKS, select=select, verbose=False)
    np.testing.assert_array_equal(report.flags["pgd"], expected.flags["pgd"])
    assert {f.code for f in report.findings} == {f.code for f in expected.findings}
    assert report.settings["network"] == network.name


def test_of_several_outputs_one_is_to_be_named(judged):
    root, x, y, _ = judged
    for way in ("alone", "functional", "sequential"):
        with pytest.raises(ValueError, match=r"outputs \['logits', 'probabilities'\]"):
            network = WAYS[way](layer_of(root, "ours")[0])
            evaluation.evaluate(network, x, y, ATTACKS, verbose=False)


def test_finished_work_is_known_again_by_the_saved_model(judged, tmp_path):
    root, x, y, _ = judged
    attacks = {"square": Square(epsilon=0.1, queries=3)}

    def judge(endpoint):
        layer, select = layer_of(root, endpoint)
        options = {"select": select, "resume_from": tmp_path, "verbose": False}
        return evaluation.evaluate(layer, x, y, attacks, **options)

    first = judge("keras")
    np.testing.assert_array_equal(judge("keras").robust_flags, first.robust_flags)
    with pytest.raises(ValueError, match="another evaluation"):
        judge("ours")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_a_file_around_a_saved_model_is_loaded_on_trust_only(suffix, judged, tmp_path):
    root, x, y, _ = judged
    path = tmp_path / f"network{suffix}"
    functional(layer_of(root, "keras")[0]).save(path)
    with pytest.raises(ValueError, match=r"runs the SavedModel that it names: .*trust=True \(--trust\)"):
        load_network(path)
    network = load_network(path, trust=True)
    np.testing.assert_array_equal(network.predict(x, verbose=0).argmax(axis=1), y)
