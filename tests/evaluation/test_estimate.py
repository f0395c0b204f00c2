"""AutoAttack's verdict estimated, against the verdict itself on a network whose attacks are cheap."""

import dataclasses
import json
import sys

import keras
import numpy as np
import pytest

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, FAB, Square
from sharedkeras.attacks.apgd import apgd
from sharedkeras.evaluation.judging import judge
from sharedkeras.evaluation.suites import ensemble as versions
from sharedkeras.models import FrozenClassifier

N = 60
ASKED = {"version": "estimate", "precision": 0.1, "confidence": 0.9}


def _cheap(norm, epsilon):
    ball = {"norm": norm, "epsilon": epsilon}
    return {
        "apgd-ce": APGD(loss="ce", steps=2, **ball),
        "apgd-t": APGD(loss="dlr-targeted", steps=3, targets=4, **ball),
        "fab-t": FAB(targeted=True, steps=3, targets=4, **ball),
        "square": Square(queries=30, **ball),
    }


@pytest.fixture(autouse=True)
def cheap_attacks(monkeypatch):
    """AutoAttack with so few steps that each attack leaves something to the next."""
    monkeypatch.setattr(versions, "_standard", _cheap)
    monkeypatch.setattr(versions, "GLANCE", 1)
    monkeypatch.setattr(apgd, "GLANCE", 1)
    monkeypatch.setitem(versions._VERSIONS, "standard", _cheap)


@pytest.fixture(scope="module")
def problem():
    """A network of two layers, with images and the labels that it gives them."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(6)]
    network = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    x = np.random.default_rng(0).uniform(0, 1, (N, 4, 4, 1)).astype("float32")
    y = np.argmax(keras.ops.convert_to_numpy(network(x)), axis=1)
    y[:3] = (y[:3] + 1) % 6
    return FrozenClassifier(network), x, y  # It keeps what is compiled.


def _judge(problem, **arguments):
    network, x, y = problem
    arguments = {"epsilon": 0.07, "batch_size": 32, "verbose": False, **arguments}
    return evaluation.autoattack(network, x, y, **arguments)


def _alike(a, b):
    assert dataclasses.replace(a.estimate, cost=0.0) == dataclasses.replace(b.estimate, cost=0.0)
    for name, flags in a.flags.items():
        np.testing.assert_array_equal(flags, b.flags[name])
    # When FAB lets go of an example that it has broken depends on how many runs shared its batch: the
    # passes of those that stand are the same, and the costs differ by those of the broken only, which
    # `standard` would spend as well.
    for name, passes in a.passes.items():
        stands = a.flags[name]
        np.testing.assert_array_equal(passes[stands], b.passes[name][stands])
    one, other = (sum(float(np.nansum(p)) for p in report.passes.values()) for report in (a, b))
    expected = other / (one / a.estimate.cost + other - one)
    np.testing.assert_allclose(b.estimate.cost, expected, rtol=1e-6)


def test_it_holds_the_verdict_of_standard_and_goes_on_to_it(problem, tmp_path):
    report = _judge(problem, **ASKED, resume_from=tmp_path / "kept")
    whole = _judge(problem, version="standard")
    estimate = report.estimate
    assert estimate.low <= whole.robust <= estimate.high <= report.robust + 1e-12
    assert estimate.high - estimate.low <= 0.1 + 1e-12
    assert 0 < estimate.judged < estimate.survivors
    assert report.accuracy["apgd-ce"] == whole.accuracy["apgd-ce"] > whole.robust > 0
    # Whoever the estimate calls broken, `standard` breaks.
    assert not np.any(whole.robust_flags & ~report.robust_flags)
    again = _judge(problem, version="standard", resume_from=tmp_path / "kept")
    for name, flags in whole.flags.items():
        np.testing.assert_array_equal(again.flags[name], flags)


def test_all_that_is_asked_in_full_is_the_verdict(problem):
    report = _judge(problem, version="estimate", precision=0.001)
    whole = _judge(problem, version="standard")
    estimate = report.estimate
    assert estimate.low == estimate.value == estimate.high == whole.robust == report.robust
    assert estimate.judged == estimate.survivors
    assert "exact" in estimate.sentence


def test_slices_in_rounds_give_the_same_estimate(problem, tmp_path):
    whole, plan, rounds = _judge(problem, **ASKED), None, 0
    while plan is None or plan.estimate is None:
        slices = []
        for i in range(3):
            kept = tmp_path / f"slice-{i}"
            report = _judge(problem, **ASKED, shard=(i, 3), plan=plan, resume_from=kept)
            assert report.estimate is None
            assert report.verdict == "doubtful"
            report.to_json(tmp_path / f"{i}.json")
            slices.append(evaluation.Report.from_json(tmp_path / f"{i}.json"))
        plan = evaluation.merge(slices)
        rounds += 1
        assert rounds < 10
    assert rounds >= 3
    assert plan.plan is None
    assert "estimate-unfinished" not in {finding.code for finding in plan.findings}
    _alike(whole, plan)


def test_a_killed_one_goes_on(problem, tmp_path, monkeypatch):
    whole = _judge(problem, **ASKED)
    calls = []

    def fail(self, task):
        calls.append(len(task.x))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FAB, "craft", fail)
        with pytest.raises(KeyboardInterrupt):
            _judge(problem, **ASKED, resume_from=tmp_path)
    assert len(calls) == 1
    _alike(whole, _judge(problem, **ASKED, resume_from=tmp_path, batch_size=7))


def test_report_json_and_page(problem, tmp_path):
    report = _judge(problem, **ASKED)
    report.to_json(tmp_path / "report.json")
    read = evaluation.Report.from_json(tmp_path / "report.json")
    assert read.estimate == report.estimate
    np.testing.assert_array_equal(read.margins["apgd-ce"], report.margins["apgd-ce"])
    stated = json.loads((tmp_path / "report.json").read_text())
    assert set(stated["estimate"]) == {
        *("value", "low", "high", "confidence", "precision", "survivors", "census", "audited"),
        *("broken_in_census", "broken_in_audit", "cost"),
    }
    assert report.estimate.sentence in evaluation.text_table(report)
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert report.estimate.sentence[1:] in page
    assert page.count('class="judged"') + page.count('class="fallen"') == report.estimate.judged
    broken = report.estimate.broken_in_census + report.estimate.broken_in_audit
    assert page.count('class="fallen"') == broken > 0
    assert "AutoAttack estimate" not in page


def test_damaged_estimates_are_refused(problem, tmp_path):
    path = tmp_path / "report.json"
    _judge(problem, **ASKED).to_json(path)
    sound = json.loads(path.read_text())
    for name, value in (("high", 1.0), ("low", 0.99), ("audited", 10**6), ("cost", "x")):
        path.write_text(json.dumps({**sound, "estimate": {**sound["estimate"], name: value}}))
        with pytest.raises(ValueError, match="report"):
            evaluation.Report.from_json(path)


def test_extremes(problem):
    network, x, y = problem
    none = _judge(problem, **ASKED | {"epsilon": 0.9})
    assert none.estimate.value == none.estimate.high == none.robust == 0
    assert none.estimate.survivors == 0
    everybody = _judge(problem, **ASKED | {"epsilon": 1e-6, "precision": 0.9})
    assert everybody.estimate.high == everybody.clean
    assert everybody.estimate.audited >= 10
    empty = _judge(problem, **ASKED | {"epsilon": 0})
    assert empty.estimate.value == empty.estimate.low == empty.clean == empty.robust
    wrong = evaluation.autoattack(network, x[:5], (y[:5] + 1) % 6, epsilon=0.07, **ASKED)
    assert wrong.estimate.value == wrong.estimate.high == wrong.robust


def test_epsilon_0_in_slices(problem, tmp_path):
    slices = [
        _judge(problem, **ASKED | {"epsilon": 0}, shard=(i, 2), resume_from=tmp_path / str(i))
        for i in range(2)
    ]
    assert evaluation.merge(slices).estimate.value == slices[0].clean / 2 + slices[1].clean / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": 0}, "`precision` must be a fraction in \\(0, 1\\]"),
        ({"precision": 1.5}, "`precision`"),
        ({"precision": "1 %"}, "`precision`"),
        ({"confidence": 0}, "`confidence` must be a fraction in \\(0, 1\\)"),
        ({"confidence": 1.0}, "`confidence` must be a fraction in \\(0, 1\\)"),
        ({"confidence": 95}, "`confidence`"),
        ({"version": "standard"}, "go with version='estimate'"),
        ({"shard": (0, 2)}, "`resume_from` must be a directory of its own"),
        ({"plan": 3}, "`plan` goes with version='estimate' and a `shard`"),
    ],
)
def test_bad_input(problem, arguments, message):
    with pytest.raises(ValueError, match=message):
        _judge(problem, **ASKED | arguments)


def test_plans_of_other_evaluations_are_refused(problem, tmp_path):
    def rounds(**arguments):
        return [
            _judge(problem, **ASKED | arguments, shard=(i, 2), resume_from=tmp_path / f"{i}{arguments}")
            for i in range(2)
        ]

    plan = evaluation.merge(rounds())
    again = {"shard": (0, 2), "plan": plan}
    for changed, name in (({"seed": 1}, "seed"), ({"epsilon": 0.05}, "epsilon")):
        with pytest.raises(ValueError, match=f"differs in: {name}"):
            _judge(problem, **ASKED | again | changed, resume_from=tmp_path / "x")
    with pytest.raises(ValueError, match="numbers"):
        _judge(problem, **ASKED | again, index=np.arange(N) + 1, resume_from=tmp_path / "x")
    whole = _judge(problem, **ASKED)
    with pytest.raises(ValueError, match="while it has no estimate yet"):
        _judge(problem, **ASKED | again | {"plan": whole}, resume_from=tmp_path / "x")
    first, second = rounds()
    with pytest.raises(ValueError, match="missing: \\[1\\]"):
        evaluation.merge([first])
    later = _judge(problem, **ASKED | again, resume_from=tmp_path / "0{}")
    with pytest.raises(ValueError, match="attacks differ"):
        evaluation.merge([later, second])


def test_random_networks_are_refused(problem):
    _, x, y = problem

    @keras.saving.register_keras_serializable("estimate")
    class Noise(keras.layers.Layer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.generator = keras.random.SeedGenerator(0)

        def call(self, inputs):
            return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs), seed=self.generator)

    layers = [Noise(), keras.layers.Flatten(), keras.layers.Dense(6)]
    network = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    with pytest.raises(ValueError, match="version='rand'"):
        evaluation.autoattack(network, x, y, **ASKED)


def test_screen_and_rest_are_standard():
    full, standard = (
        sys.modules[versions.__name__].ensemble(version, norm="l2", epsilon=0.5)
        for version in ("estimate", "standard")
    )
    assert (full["apgd-t-3"], full["apgd-t-rest"]) in standard["apgd-t"].divisions()
    assert set(standard["apgd-t"].divisions()[2]) <= set(standard["apgd-t"].implied_by())
    assert full["apgd-t-glance"] in full["apgd-t-rest"].implied_by()
    assert full["apgd-t-glance"] in standard["apgd-t"].implied_by()
    same = ("apgd-ce", "fab-t", "square")
    assert [full[name] for name in same] == [standard[name] for name in same]


TARGETED = APGD(loss="dlr-targeted", epsilon=0.07, steps=3, targets=5)


@pytest.mark.parametrize("count", [1, 3])
def test_targets_in_two_parts_give_the_verdicts_of_one_attack(problem, tmp_path, monkeypatch, count):
    parts = TARGETED.divisions()[count - 1]
    assert [(part.targets, part.skip) for part in parts] == [(count, 0), (5, count)]
    custom = {"version": "custom", "resume_from": tmp_path / "kept"}
    divided = _judge(problem, attacks=dict(zip("ab", parts, strict=True)), **custom)
    whole = _judge(problem, version="custom", attacks={"whole": TARGETED})
    np.testing.assert_array_equal(divided.flags["b"], whole.flags["whole"])
    # With one target in front each part breaks somebody, and somebody is left.
    clean, one, both = (sum(flags) for flags in divided.flags.values())
    assert clean > one >= both > 0
    assert count > 1 or one > both
    # Nothing is attacked again where both parts are kept.
    monkeypatch.setattr(judge, "attack_batch", None)
    again = _judge(problem, attacks={"whole": TARGETED}, **custom)
    np.testing.assert_array_equal(again.flags["whole"], whole.flags["whole"])


def test_one_part_alone_vouches_for_nobody(problem, tmp_path):
    custom = {"version": "custom", "resume_from": tmp_path / "kept"}
    _judge(problem, attacks={"a": TARGETED.divisions()[0][0]}, **custom)
    whole = _judge(problem, version="custom", attacks={"whole": TARGETED})
    again = _judge(problem, attacks={"whole": TARGETED}, **custom)
    np.testing.assert_array_equal(again.flags["whole"], whole.flags["whole"])
