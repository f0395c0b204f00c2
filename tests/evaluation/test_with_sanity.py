"""The fuller checks beside an evaluation."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import evaluation
from sharedkeras.attacks import APGD
from sharedkeras.evaluation import Finding
from sharedkeras.evaluation.sanity import with_sanity


class Turned(keras.layers.Layer):
    """Turns the gradient's sign: attacks walk to safety."""

    def call(self, x):
        return 2 * ops.stop_gradient(x) - x


@pytest.fixture(scope="module")
def judged():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5, 5, 1))
    x = keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(Turned()(inputs)))
    network = keras.Model(inputs, keras.layers.Dense(4)(x))
    x = np.random.default_rng(0).random((16, 5, 5, 1)).astype("float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")
    attacks = {"apgd": APGD(epsilon=0.3, steps=3)}
    return network, x, y, evaluation.evaluate(network, x, y, attacks)


def test_it_adds_what_the_attacks_could_not_see(judged):
    network, x, y, report = judged
    assert report.verdict == "trustworthy"
    more = with_sanity(report, network, x, y, epsilon=0.3)
    new = {f.code for f in more.findings} - {f.code for f in report.findings}
    assert "unbounded-attack-fails" in new
    assert more.verdict == "not usable"
    assert new <= set(more.settings["sanity"]["found"])
    assert more.settings["sanity"]["examples"] == 16
    assert more.settings["sanity"]["epsilon"] == 0.3
    assert np.array_equal(more.flags["apgd"], report.flags["apgd"])


def test_what_the_report_says_already_stays(judged, monkeypatch):
    network, x, y, report = judged
    own, other = Finding("zero-gradient", "info", "Own."), Finding("probabilities", "error", "New.")
    found = (own._replace(severity="error", message="Again."), other)
    monkeypatch.setitem(with_sanity.__globals__, "check", lambda *_, **__: found)
    told = evaluation.Report(flags=report.flags, findings=(own,), settings={"dataset": "toy"})
    more = with_sanity(told, network, x, y, epsilon=0.3)
    assert more.findings == (own, other)
    assert more.settings["dataset"] == "toy"
    assert more.settings["sanity"]["found"] == ["zero-gradient", "probabilities"]


def test_mistakes(judged):
    network, x, y, report = judged
    with pytest.raises(ValueError, match="epsilon"):
        with_sanity(report, network, x, y, epsilon=0.0)
    with pytest.raises(ValueError, match="Unknown norm"):
        with_sanity(report, network, x, y, norm="l3")
