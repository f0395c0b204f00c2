"""A report file that is read can be shown and written, whatever its settings; others are refused."""

import json
import random

import numpy as np
import pytest

from sharedkeras.evaluation.report import Report
from sharedkeras.evaluation.report.html import read_history
from sharedkeras.evaluation.report.text import text_table

DEEP = json.loads("[" * 60 + "]" * 60)
TOO_DEEP = json.loads("[" * 200 + "]" * 200)
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    -1e308,
    5e-324,
    10**25,
    10**400,
    "",
    "text",
    "<b onclick='x()'>&amp;</b>",
    "\ud800",
    "\x00\x1b[31m",
    "x" * 10_000,
    [],
    ["linf"],
    [0, 2],
    [[1, 2], {"a": None}],
    {},
    {"a": 1},
    {"attack": ["PGD"], "epsilon": {"b": [1e300]}},
    {"pgd": 3, "fgsm": {"epsilon": "nan"}},
    DEEP,
]
SETTINGS = (
    "norm",
    "epsilon",
    "version",
    "network",
    "dataset",
    "attacks",
    "command",
    "shard",
    "batch_size",
    "other",
)


@pytest.fixture
def tree(tmp_path):
    n = 10
    flags = {"clean": np.arange(n) < 9, "apgd-ce": np.arange(n) < 6, "square": np.arange(n) < 5}
    Report(
        flags=flags,
        cascade=True,
        seconds={"clean": 0.1, "apgd-ce": 2.0, "square": 3.0},
        settings={
            "network": "cnn",
            "dataset": "mnist",
            "norm": "linf",
            "epsilon": 0.3,
            "attacks": {"apgd-ce": {"attack": "APGD", "norm": "linf"}, "square": {"attack": "Square"}},
        },
        versions={"sharedkeras": "0.1.0"},
        findings=[("code", "warning", "A sentence.")],
        labels=np.arange(n) % 3,
        predictions={"clean": np.arange(n) % 3, "adversarial": np.zeros(n, int)},
        distance={"apgd-ce": np.where(flags["apgd-ce"], np.inf, 0.2)},
        history={"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "val_accuracy": [0.5, None, 0.7]},
        label_names=["cat", "dog", "ship"],
    ).to_json(tmp_path / "report.json")
    return json.loads((tmp_path / "report.json").read_text())


def shown_or_refused(path, tree):
    """Return whether the file is read; then everything that shows it must work."""
    path.write_text(json.dumps(tree))
    try:
        report = Report.from_json(path)
    except ValueError as error:
        assert str(path) in str(error)
        return False
    report.to_html(path.with_suffix(".html"))
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<b onclick" not in page
    assert report.verdict_sentence in text_table(report)
    repr(report)
    again = path.with_name("again.json")
    report.to_json(again)
    assert Report.from_json(again).settings == report.settings
    return True


@pytest.mark.parametrize("name", SETTINGS)
def test_odd_settings_are_shown(tmp_path, tree, name):
    for value in ODD:
        tree["settings"] = {"norm": "linf", "epsilon": 0.1, name: value}
        assert shown_or_refused(tmp_path / "report.json", tree), repr(value)[:60]
        if name not in ("norm", "epsilon"):  # Which the headline takes from the attacks, too.
            continue
        tree["settings"] = {"attacks": {"a": {name: value}, "b": {name: value}}}
        assert shown_or_refused(tmp_path / "report.json", tree), repr(value)[:60]


def test_settings_that_no_reader_can_hold_are_refused(tmp_path, tree):
    tree["settings"]["other"] = TOO_DEEP
    assert not shown_or_refused(tmp_path / "report.json", tree)
    for number in ("NaN", "Infinity", "1e999", "9" * 5000):
        path = tmp_path / "report.json"
        tree["settings"]["other"] = "HERE"
        path.write_text(json.dumps(tree).replace('"HERE"', number))
        with pytest.raises(ValueError, match=r"report\.json"):
            Report.from_json(path)


def nodes(tree, path=()):
    yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from nodes(value, (*path, key))


def replaced(tree, path, value):
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def test_any_entry_of_another_kind_is_shown_or_refused(tmp_path, tree):
    draw, places = random.Random(0), [path for path in nodes(tree) if path]
    read = 0
    for number in range(200):
        changed = replaced(tree, places[number % len(places)], draw.choice(ODD))
        read += shown_or_refused(tmp_path / "report.json", changed)
    assert 25 < read < 175  # Both kinds are met.


@pytest.mark.parametrize(
    "column",
    [
        [1e308, -1e308, 1.0],
        [5e-324, 1e-320, 0.0],
        [1.0, 1.0 + 2**-52, 1.0],
        [1e16, 1e16 + 2, 1e16],
        [-1.0, -1.0, -1.0],
        [1e-300, 1e300, 1.0],
        [10**400, "text", None],
        [float("nan"), float("inf"), float("-inf")],
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["epoch", "loss", "val_accuracy", "learning_rate"])
def test_odd_histories_are_drawn(tmp_path, name, column):
    history = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], name: column}
    report = Report(flags={"clean": np.ones(4, bool)}, history=history)
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert 'd="Mnan' not in page and "inf" not in page.split("<body>")[1]


@pytest.mark.parametrize("data", [b"epoch,loss\n1,\xff\n", b'epoch,loss\n"1\r2",\x002\n3'])
def test_a_table_of_metrics_that_is_none_is_read_or_refused(tmp_path, data):
    (tmp_path / "metrics.csv").write_bytes(data)
    report = Report(flags={"clean": np.ones(4, bool)})
    try:
        read_history(tmp_path)
    except ValueError as error:
        assert "metrics.csv" in str(error)
    else:
        report.to_html(tmp_path / "report.html", run=tmp_path)


def test_paths_that_are_no_text_can_be_written(tmp_path):
    path = b"runs/\xff".decode("utf-8", "surrogateescape")
    report = Report(flags={"clean": np.ones(4, bool)}, settings={"weights": path})
    report.to_json(tmp_path / "r.json")
    report.to_html(tmp_path / "r.html")
    assert Report.from_json(tmp_path / "r.json").settings["weights"] == r"runs/\udcff"


def test_a_slice_of_a_trillion_is_refused_at_once():
    from sharedkeras.evaluation import merge

    report = Report(flags={"clean": np.ones(4, bool)}, settings={"shard": [0, 10**12]})
    with pytest.raises(ValueError, match="each of the 1000000000000 slices once"):
        merge([report])
