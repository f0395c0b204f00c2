"""A quick look never replaces a fuller report."""

import numpy as np
import pytest

from sharedkeras.evaluation import Report
from sharedkeras.evaluation.report.keeping import report_name

BALL = {"weights_sha256": "a", "dataset": "mnist", "split": "test", "norm": "linf", "epsilon": 0.3}


def make(n=8, attacks=("pgd20", "cw"), **settings):
    flags = {name: np.ones(n, bool) for name in ("clean", *attacks)}
    return Report(flags=flags, settings={**BALL, **settings})


@pytest.mark.parametrize(
    ("new", "name"),
    [
        (make(), "report"),
        (make(n=9), "report"),
        (make(n=9, attacks=["fgsm"]), "report"),
        (make(attacks=["pgd20", "cw", "fgsm"]), "report"),
        (make(attacks=["square"]), "report"),
        (make(attacks=["pgd20"], weights_sha256="b"), "report"),
        (make(n=7), "report-2"),
        (make(n=7, weights_sha256="b"), "report-2"),
        (make(attacks=["pgd20"]), "report-2"),
    ],
)
def test_only_what_says_as_much_replaces(tmp_path, new, name):
    assert report_name(tmp_path, new) == "report"
    make().to_json(tmp_path / "report.json")
    assert report_name(tmp_path, new) == name


def test_the_first_place_that_is_free_or_not_fuller(tmp_path):
    make().to_json(tmp_path / "report.json")
    make(n=7).to_json(tmp_path / "report-2.json")
    assert report_name(tmp_path, make(n=3)) == "report-3"
    assert report_name(tmp_path, make(n=7)) == "report-2"


def test_a_damaged_report_is_no_loss(tmp_path):
    (tmp_path / "report.json").write_text("{")
    assert report_name(tmp_path, make(n=1)) == "report"
