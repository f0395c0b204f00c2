"""A report counts from its flags, and refuses parts that contradict each other."""

import dataclasses

import numpy as np
import pytest

from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report


def random_flags(rng, n, names=("a", "b", "c"), cascade=False):
    flags = {"clean": rng.random(n) < 0.9}
    before = flags["clean"]
    for name in names:
        flags[name] = before & (rng.random(n) < 0.8)
        before = flags[name] if cascade else flags["clean"]
    return flags


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_accuracies_are_counted_from_the_flags(seed, cascade):
    flags = random_flags(np.random.default_rng(seed), 37, cascade=cascade)
    report = Report(flags=flags, cascade=cascade)
    assert report.n == 37
    assert report.clean == np.mean(flags["clean"])
    assert list(report.accuracy) == ["a", "b", "c"]
    assert all(report.accuracy[name] == np.mean(flags[name]) for name in report.accuracy)
    expected = flags["clean"] & flags["a"] & flags["b"] & flags["c"]
    np.testing.assert_array_equal(report.robust_flags, expected)
    assert report.robust == np.mean(expected) <= min(report.accuracy.values()) <= report.clean
    np.testing.assert_array_equal(report.indices, np.arange(37))


def test_the_worst_case_is_per_example():
    flags = {"clean": [True] * 4, "a": [True, True, False, False], "b": [False, False, True, True]}
    report = Report(flags={name: np.array(flag) for name, flag in flags.items()})
    assert report.accuracy == {"a": 0.5, "b": 0.5}
    assert report.robust == 0.0


def test_broken_counts_add_up_in_a_cascade():
    report = Report(flags=random_flags(np.random.default_rng(1), 100, cascade=True), cascade=True)
    assert sum(report.broken.values()) == round(100 * (report.clean - report.robust))


def test_broken_counts_what_was_correct_before():
    flags = {"clean": np.array([True, False, True]), "a": np.array([False, False, True])}
    assert Report(flags=flags).broken == {"a": 1}


def test_clean_comes_first_and_the_flags_are_a_locked_copy():
    clean = np.array([True, True])
    report = Report(flags={"a": np.array([True, False]), "clean": clean})
    assert list(report.flags) == ["clean", "a"]
    clean[0] = False
    assert report.clean == 1.0
    with pytest.raises(ValueError, match="read-only"):
        report.flags["clean"][0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.seed = 1


def test_without_an_attack_the_worst_case_is_the_clean_one():
    report = Report(flags={"clean": np.array([True, False])})
    assert (report.clean, report.robust, report.accuracy) == (0.5, 0.5, {})


@pytest.mark.parametrize(
    ("severities", "verdict", "in_sentence"),
    [
        ((), "trustworthy", "No check"),
        (("info",), "trustworthy", "No check"),
        (("info", "warning"), "doubtful", "One warning stands"),
        (("warning", "warning"), "doubtful", "2 warnings stand"),
        (("warning", "error", "info"), "not usable", "One error stands"),
    ],
)
def test_the_worst_finding_decides(severities, verdict, in_sentence):
    findings = [Finding(f"check-{i}", severity, "Text.") for i, severity in enumerate(severities)]
    report = Report(flags={"clean": np.ones(3, bool)}, findings=findings)
    assert report.verdict == verdict
    assert in_sentence in report.verdict_sentence
    assert all(isinstance(finding, Finding) for finding in report.findings)


ONE = np.ones(3, bool)
IMAGES = np.zeros((3, 2, 2, 1), "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flags": {"a": ONE}}, "an entry 'clean'"),
        ({"flags": {"clean": np.ones(0, bool)}}, "at least one example"),
        ({"flags": {"clean": np.ones((3, 1), bool)}}, r"shape \(3, 1\)"),
        ({"flags": {"clean": np.ones(3)}}, "dtype float64"),
        ({"flags": {"clean": ONE, "a": np.ones(4, bool)}}, r"shape \(4,\)"),
        ({"flags": {"clean": ~ONE, "a": ONE}, "cascade": True}, "3 examples correct again"),
        ({"seconds": {"a": 1.0}}, "seconds"),
        ({"seconds": {"clean": float("nan")}}, "nan"),
        ({"seconds": {"clean": -1.0}}, "-1.0"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"findings": [("code", "fatal", "Text.")]}, "severity='fatal'"),
        ({"indices": [0, 1, 1]}, "distinct"),
        ({"indices": [-1, 0, 1]}, "distinct"),
        ({"indices": [0, 1]}, "3 examples"),
        ({"labels": np.zeros(3)}, "float64"),
        ({"predictions": {"clean": np.zeros(2, int)}}, r"predictions\['clean'\]"),
        ({"adversarial": IMAGES[:2]}, "adversarial"),
        ({"images": np.zeros((3, 2, 2, 1), "uint8")}, "uint8"),
        ({"images": IMAGES, "adversarial": IMAGES[:, :1]}, "same shape"),
        ({"history": {"epoch": [0, 1], "loss": [1.0]}}, "one length"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        Report(**{"flags": {"clean": ONE}, **arguments})
    assert "Received:" in str(caught.value)


def test_repr_is_short():
    report = Report(flags={"clean": np.ones(10000, bool)}, images=np.zeros((10000, 2, 2, 1)))
    assert len(repr(report)) < 300
