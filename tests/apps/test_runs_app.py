"""The application that lists and compares training runs."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(*flags, cwd, code=0):
    done = subprocess.run(
        [sys.executable, str(ROOT / "apps" / "runs.py"), *map(str, flags)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def make(path, robust, *, report=None, **recipe):
    path.mkdir(parents=True)
    values = {"name": path.name, "source": "test", "epochs": 4, "learning_rate": 0.1, **recipe}
    (path / "config.json").write_text(json.dumps({"recipe": values}))
    rows = ["epoch,loss,val_natural,val_robust,seconds"]
    rows += [f"{i},{2 / (i + 1)},{0.5 + 0.1 * i},{value},60.0" for i, value in enumerate(robust)]
    (path / "metrics.csv").write_text("\n".join(rows) + "\n")
    if report:
        (path / "report.json").write_text(json.dumps(report))
    return path


@pytest.fixture
def two(tmp_path):
    report = {"n": 1000, "robust": 0.4375, "accuracy": {"apgd-ce": 0.45}, "verdict": "trustworthy"}
    make(tmp_path / "runs" / "first", [0.1, 0.3, 0.2], report=report)
    make(tmp_path / "runs" / "second", [0.2, 0.25], learning_rate=0.05)
    return tmp_path


def test_runs_are_listed_with_their_best_epoch(two):
    said = run(cwd=two)
    first, second = (line.split("|") for line in said.splitlines()[2:4])
    cells = [cell.strip() for cell in first[1:-1]]
    assert cells == [
        "runs/first",
        "first",
        "3 of 4",
        "60.0",
        "30.0",
        "2",
        "3 min",
        "43.75 (n = 1,000, apgd-ce)",
    ]
    assert [cell.strip() for cell in second[3:8]] == ["2 of 4", "60.0", "25.0", "2", "2 min"]
    assert run("runs/second", cwd=two).count("runs/") == 1
    assert sorted(p.name for p in (two / "runs").rglob("*") if p.is_file()) == [
        "config.json",
        "config.json",
        "metrics.csv",
        "metrics.csv",
        "report.json",
    ]


def test_recipes_are_compared(two):
    said = run("--differences", cwd=two)
    assert "learning_rate\n    runs/first: 0.1\n    runs/second: 0.05" in said
    assert "epochs\n" not in said
    assert "The recipes are the same" in run("runs/first", "runs/first", "--differences", cwd=two)


def test_the_page_has_the_table_and_the_curves(two):
    make(two / "runs" / "<b>third", [0.4])
    said = run("--html=out/page.html", cwd=two)
    page = (two / "out" / "page.html").read_text()
    assert "out/page.html" in said
    assert page.count("<svg viewBox") >= 3 and "43.75 (n = 1,000" in page
    assert "<b>third" not in page and "&lt;b&gt;third" in page


def test_a_run_that_has_not_finished_an_epoch(tmp_path):
    path = make(tmp_path / "runs" / "young", [])
    (path / "metrics.csv").unlink()
    assert "0 of 4" in run(cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", "{", "config.json"),
        ("metrics.csv", "epoch,loss\n0,low\n", "metrics.csv"),
        ("report.json", '{"n": "many"}', "report.json"),
    ],
)
def test_damaged_files_are_named(two, name, text, words):
    (two / "runs" / "first" / name).write_text(text)
    said = run(cwd=two, code=2)
    assert words in said and "xpected" in said and "Traceback" not in said


def test_nothing_there(tmp_path):
    assert "No training run is there" in run(cwd=tmp_path, code=2)
