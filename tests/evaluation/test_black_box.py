"""Networks that give logits only: Square judges them, and the report says so."""

import keras
import numpy as np
import pytest

from sharedkeras import evaluation
from sharedkeras.attacks import Square
from sharedkeras.evaluation import Finding, Report
from sharedkeras.evaluation.black_box import black_box
from sharedkeras.evaluation.checks.upper_bound import bounded_above

WEIGHTS = np.random.default_rng(0).normal(size=(36, 4)).astype("float32")


def linear(x):
    return x.reshape(len(x), -1) @ WEIGHTS


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(1).random((12, 6, 6, 1)).astype("float32")
    y = linear(x).argmax(axis=1).astype("int32")
    y[0] = (y[0] + 1) % 4
    return x, y


def judged(*data, **arguments):
    return black_box(linear, *data, **{"epsilon": 0.1, "queries": 20, "batch_size": 12, **arguments})


@pytest.fixture(scope="module")
def whole(data):
    return judged(*data, settings={"dataset": "toy"}, seed=3)


def test_it_is_square_as_in_autoattack(data, whole):
    report = whole
    attacks = {"square": Square(epsilon=0.1, queries=20)}
    arguments = {"epsilon": 0.1, "version": "custom", "attacks": attacks, "seed": 3, "batch_size": 12}
    other = evaluation.autoattack(linear, *data, **arguments)
    assert list(report.accuracy) == ["square"]
    assert np.array_equal(report.flags["square"], other.flags["square"])
    assert report.clean == 11 / 12 and report.robust < report.clean
    assert report.settings["dataset"] == "toy"
    assert report.settings["attacks"]["square"]["queries"] == 20
    assert not other.findings
    (finding,) = report.findings
    assert finding.code == "upper-bound" and "20 queries" in finding.message
    assert report.verdict == "doubtful"


def test_the_norm_is_honoured(data):
    report = judged(*data, norm="l2", epsilon=0.3)
    assert report.settings["norm"] == report.settings["attacks"]["square"]["norm"] == "l2"
    moved = np.linalg.norm((report.adversarial - data[0]).reshape(12, -1), axis=1)
    assert 0 < moved.max() <= 0.3 + 1e-6
    with pytest.raises(ValueError, match=r"knows the norms.*norm='l3'"):
        judged(*data, norm="l3")


def test_slices_join_to_the_whole(data, whole):
    joint = evaluation.merge([judged(*data, shard=(i, 2), seed=3) for i in range(2)])
    assert np.array_equal(joint.flags["square"], whole.flags["square"])
    assert joint.findings == whole.findings


def test_an_empty_ball_is_no_upper_bound(data):
    report = judged(*data, epsilon=0)
    assert report.robust == report.clean
    assert [f.code for f in report.findings] == ["empty-ball"]


def test_keras_networks_too(data, whole):
    inputs = keras.Input((6, 6, 1))
    flat = keras.layers.Flatten()(inputs)
    network = keras.Model(inputs, keras.layers.Dense(4, use_bias=False, name="logits")(flat))
    network.get_layer("logits").set_weights([WEIGHTS])
    report = black_box(network, *data, epsilon=0.1, queries=20, batch_size=12, seed=3)
    assert np.array_equal(report.flags["square"], whole.flags["square"])
    assert [f.code for f in report.findings] == ["upper-bound"]


def test_mistakes(data):
    with pytest.raises(ValueError, match="queries"):
        judged(*data, queries=0)
    with pytest.raises(ValueError, match="epsilon"):
        judged(*data, epsilon=-1.0)
    with pytest.raises(TypeError, match="callable"):
        black_box(3, *data)


def test_bounded_above_says_it_once():
    flags = {"clean": np.array([True]), "a": np.array([True])}
    findings = (Finding("upper-bound", "info", "Old."), Finding("other", "info", "Kept."))
    report = bounded_above(Report(flags=flags, findings=findings), "Only a ran.")
    assert [f.code for f in report.findings] == ["upper-bound", "other"]
    assert report.findings[0].message.startswith("Only a ran. ")
    assert report.verdict == "doubtful"
