"""Adversarial examples as a report and as a file."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import evaluation
from sharedkeras.attacks import FAB, PGD, CarliniWagner, Square
from sharedkeras.evaluation import Report
from sharedkeras.evaluation.craft import craft
from sharedkeras.evaluation.report.save_adversarial import save_adversarial


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 1))
    logits = keras.layers.Dense(4)(4.0 * keras.layers.Flatten()(inputs))
    return keras.Model(inputs, logits, name="tiny")


def predicted(network, x):
    return ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")


@pytest.fixture(scope="module")
def data(network):
    x = np.random.default_rng(1).random((12, 6, 6, 1)).astype("float32")
    y = predicted(network, x)
    y[0] = (y[0] + 1) % 4
    return x, y


PGD4 = PGD(epsilon=0.05, step_size=0.02, steps=4)


def test_examples_are_what_they_claim(network, data):
    x, y = data
    report = craft(network, x, y, PGD4, name="pgd4", settings={"dataset": "toy"})
    fooled = report.flags["clean"] & ~report.flags["pgd4"]
    assert 0 < fooled.sum() < 12
    assert np.array_equal(predicted(network, report.adversarial) != y, fooled | (np.arange(12) == 0))
    assert np.array_equal(report.adversarial[~fooled], x[~fooled])
    assert np.abs(report.adversarial - x).max() <= 0.05 + 1e-6
    assert report.settings["attacks"]["pgd4"]["attack"] == "PGD"
    assert report.settings["dataset"] == "toy"
    found = {f.code: f for f in report.findings}
    assert found["upper-bound"].message.startswith("pgd4 alone was run")


def test_nearest_successes_are_searched_to_the_end(network, data):
    x, y = data
    for attack in (
        FAB(epsilon=0.3, targeted=True, targets=3, steps=10),
        CarliniWagner(steps=20, learning_rate=0.05, search_steps=4),
    ):
        whole = craft(network, x, y, attack, name="nearest")
        hasty = evaluation.evaluate(network, x, y, {"nearest": attack})
        assert np.array_equal(whole.flags["nearest"], hasty.flags["nearest"])
        near, far = whole.distance["nearest"], hasty.distance["nearest"]
        assert np.all(near <= far + 1e-6)
        assert whole.settings["attacks"] == hasty.settings["attacks"]
    assert np.any(near < 0.9 * far)  # of Carlini and Wagner's, whose first success is a far one


def test_callables_by_square_only(network, data):
    def function(x):
        return ops.convert_to_numpy(network(x))

    report = craft(function, *data, Square(epsilon=0.1, queries=5), name="square", batch_size=12)
    assert report.robust <= report.clean
    for attack in (PGD4, FAB(epsilon=0.1)):
        with pytest.raises(ValueError, match="needs gradients"):
            craft(function, *data, attack, name="white")


def test_the_file_holds_the_report(network, data, tmp_path):
    x, y = data
    report = craft(network, x, y, PGD4, name="pgd4", index=np.arange(12) + 100, seed=7)
    path = tmp_path / "new" / "adversarial.npz"
    save_adversarial(report, path)
    with np.load(path) as archive:
        found = dict(archive)
    assert set(found) == {
        "adversarial",
        "indices",
        "labels",
        "predictions_clean",
        "predictions_adversarial",
        "success",
        "distance",
        "settings",
    }
    assert found["adversarial"].dtype == found["distance"].dtype == np.float32
    assert np.array_equal(found["adversarial"], report.adversarial)
    assert np.array_equal(found["indices"], np.arange(12) + 100)
    assert np.array_equal(found["labels"], y)
    assert np.array_equal(found["predictions_clean"], predicted(network, x))
    assert np.array_equal(found["predictions_adversarial"], predicted(network, found["adversarial"]))
    assert np.array_equal(found["success"], np.isfinite(found["distance"]))
    settings = json.loads(str(found["settings"]))
    assert settings["attack"] == "pgd4" and settings["seed"] == 7
    assert settings["settings"]["attacks"]["pgd4"]["steps"] == 4
    assert [p.name for p in path.parent.iterdir()] == ["adversarial.npz"]


def test_reports_that_cannot_be_written(network, data, tmp_path):
    two = evaluation.evaluate(network, *data, {"a": PGD4, "b": PGD4})
    with pytest.raises(ValueError, match=r"of one attack.*'a', 'b'"):
        save_adversarial(two, tmp_path / "two.npz")
    bare = Report(flags={"clean": np.array([True]), "a": np.array([True])})
    with pytest.raises(ValueError, match="'adversarial'"):
        save_adversarial(bare, tmp_path / "bare.npz")
    assert not list(tmp_path.iterdir())
