"""What is written is read back the same, and a damaged file is refused."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.json_format import plain
from sharedkeras.evaluation.report.report import Report


@dataclasses.dataclass(frozen=True)
class SomeAttack:
    epsilon: float = 0.3
    steps: int = 10


def make(n=21, **changes):
    rng = np.random.default_rng(n)
    clean = rng.random(n) < 0.9
    arguments = {
        "flags": {"clean": clean, "pgd20": clean & (rng.random(n) < 0.5)},
        "seconds": {"pgd20": 1.25},
        "settings": {"attacks": {"pgd20": SomeAttack()}, "epsilon": np.float32(0.5), "shard": (0, 2)},
        "seed": 3,
        "versions": {"sharedkeras": "0.1.0"},
        "findings": [Finding("code", "warning", "Ein Satz für alle.")],
        "indices": np.arange(n)[::-1] * 2,
        "labels": rng.integers(0, 10, n),
        "predictions": {"clean": rng.integers(0, 10, n)},
        "distance": {"pgd20": np.where(clean, np.inf, 0.25)},
        "history": {"epoch": ["0", "1"], "loss": [1.5, float("nan")], "accuracy": ["", "0.5"]},
        "label_names": list("abcdefghij"),
    }
    return Report(**{**arguments, **changes})


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_round_trip(tmp_path, n):
    report = make(n)
    report.to_json(tmp_path / "deep" / "report.json")
    again = Report.from_json(tmp_path / "deep" / "report.json")
    for name in ("flags", "predictions", "distance", "history"):
        ours, theirs = getattr(report, name), getattr(again, name)
        assert list(ours) == list(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert ours[key].dtype.kind == theirs[key].dtype.kind
    for name in ("indices", "labels"):
        np.testing.assert_array_equal(getattr(report, name), getattr(again, name))
    for name in ("n", "clean", "robust", "accuracy", "seconds", "settings", "seed", "versions"):
        assert getattr(report, name) == getattr(again, name)
    for name in ("findings", "verdict", "cascade", "label_names"):
        assert getattr(report, name) == getattr(again, name)


def test_optional_parts_stay_absent(tmp_path):
    Report(flags={"clean": np.array([True])}).to_json(tmp_path / "report.json")
    tree = json.loads((tmp_path / "report.json").read_text())
    assert "indices" not in tree and "labels" not in tree
    again = Report.from_json(tmp_path / "report.json")
    assert again.labels is None and again.history is None and again.label_names is None


def test_file_is_strict_and_says_what_a_reader_of_another_language_needs(tmp_path):
    def refuse(name):
        raise AssertionError(f"not strict JSON: {name}")

    report = make(21)
    report.to_json(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    tree = json.loads(text, parse_constant=refuse)
    assert tree["format"] == "sharedkeras-report/1"
    assert tree["findings"] == [{"code": "code", "severity": "warning", "message": "Ein Satz für alle."}]
    assert tree["verdict"] == "doubtful"
    bits = np.frombuffer(base64.b64decode(tree["flags"]["pgd20"]), "uint8")
    np.testing.assert_array_equal(np.unpackbits(bits)[: tree["n"]], report.flags["pgd20"])


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    make(5).to_json(path)
    before = path.read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make(6).to_json(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "report.json"
    make(50).to_json(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"Expected a usable report.*Received: path="):
        Report.from_json(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(format="sharedkeras-report/2"), "format"),
        (lambda t: t.pop("format"), "format"),
        (lambda t: t.pop("flags"), "expected an entry 'flags'"),
        (lambda t: t.pop("robust"), "expected an entry 'robust'"),
        (lambda t: t.update(n=5000), "5000"),
        (lambda t: t.update(n=t["n"] - 1), "contradicts|entry for each"),
        (lambda t: t.update(n="many"), "expected 'n' to be an integer"),
        (lambda t: t.update(robust=0.99), "`robust` contradicts"),
        (lambda t: t.update(verdict="trustworthy"), "`verdict` contradicts"),
        (lambda t: t["flags"].update(pgd20="!!"), "Expected a usable report"),
        (lambda t: t.update(flags=[]), "expected 'flags' to be an object"),
        (lambda t: t.update(settings=3), "Expected a usable report"),
        (lambda t: t.update(seconds=None), "Expected a usable report"),
        (lambda t: t.update(labels={"dtype": "O", "base64": ""}), "Expected a usable report"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, change, message):
    path = tmp_path / "report.json"
    make(50).to_json(path)
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=message):
        Report.from_json(path)


def test_a_list_is_no_report(tmp_path):
    (tmp_path / "report.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="expected an object, and it holds an array"):
        Report.from_json(tmp_path / "report.json")


def test_plain_values():
    assert plain({"a": SomeAttack(), 1: (np.int64(2), None, True)}) == {
        "a": {"class": "SomeAttack", "epsilon": 0.3, "steps": 10},
        "1": [2, None, True],
    }
    assert plain([float("inf"), float("nan")]) == ["inf", "nan"]
    assert plain(np.array([[1.5]])) == [[1.5]]
    assert plain(json.dumps) == "json.dumps"
    assert plain(object()) == "object"
