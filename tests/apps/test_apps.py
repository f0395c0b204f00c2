"""The applications as a person runs them: exit codes, words, files."""

import json
import os
import re
import subprocess
import sys

import pytest
from support.applications import ROOT, drive

QUICK = [
    "--max_steps=2",
    "--batch_size=50",
    "--attack_steps=1",
    "--validation_size=9900",
    "--validation_examples=5",
]


def run(app, *flags, code=0, cwd=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # The tests' own.
    result = subprocess.run(
        [sys.executable, str(ROOT / "apps" / f"{app}.py"), *flags],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=280,
        check=False,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("apps")
    said = run("train", *QUICK, "--eval_examples=20", "--attacks=natural,pgd2,cw", cwd=root)
    return root, said


def test_train_leaves_everything_and_says_so(trained):
    root, said = trained
    out = root / "runs" / "quickstart"
    for name in (
        "config.json",
        "last.keras",
        "best.keras",
        "report.json",
        "report.html",
        "exports/cnn.onnx",
        "exports/saved_model/saved_model.pb",
    ):
        assert (out / name).exists(), name
    report = json.loads((out / "report.json").read_text())
    assert report["n"] == 20
    assert set(report["accuracy"]) == {"pgd2", "cw"}
    assert report["settings"]["dataset"] == "mnist-mini"
    for note in ("absl::", "I0000", "oneDNN", "cudart", "retracing", "Warning", "E0000"):
        assert note not in said, said
    for word in ("362,938 trainable parameters", "estimate", "peak memory", "report.html", "Next:"):
        assert word in said, said


@pytest.mark.slow
def test_second_run_takes_another_directory(trained):
    root, _ = trained
    run("train", *QUICK, "--eval_examples=0", "--noexport", cwd=root)
    assert (root / "runs" / "quickstart-2" / "last.keras").exists()


def test_evaluate_a_run(trained, tmp_path):
    root, _ = trained
    said = run(
        "evaluate",
        f"--network={root / 'runs/quickstart'}",
        "--attacks=natural,fgsm",
        "--eval_examples=10",
        f"--run_dir={tmp_path}",
        "--weights=last",
    )
    assert "fgsm" in said
    assert json.loads((tmp_path / "report.json").read_text())["n"] == 10


@pytest.mark.slow
def test_train_another_objective_with_options(tmp_path):
    said = run(
        "train",
        *QUICK,
        "--objective=trades",
        "--beta=2",
        "--label_smoothing=0.1",
        "--stage=0.5:steps=2,step_size=0.1",
        "--schedule=one-cycle",
        "--schedule_options=rise=0.3",
        "--ema_decay=0.99",
        "--eval_examples=0",
        "--noexport",
        f"--run_dir={tmp_path / 'run'}",
    )
    recipe = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]
    assert recipe["objective"] == "trades"
    assert recipe["objective_options"] == {"beta": 2, "label_smoothing": 0.1}
    assert recipe["attack_options"] == {"step_size": 0.075, "steps": 1}
    assert recipe["curriculum"] == [[0.5, {"steps": 2, "step_size": 0.1}]]
    assert recipe["schedule"] == "one-cycle"
    assert recipe["schedule_options"] == {"rise": 0.3}
    assert recipe["ema_decay"] == 0.99
    assert recipe["latent"] is False
    assert "from epoch 3: PGD" in said
    assert "random_start='gaussian'" in said


RECIPES = """
import dataclasses, json, sys
from absl import flags
from absl.testing import flagsaver
import train
for line in json.loads(sys.argv[1]):
    with flagsaver.flagsaver():
        flags.FLAGS(["train", *line.split()])
        print(json.dumps(dataclasses.asdict(train._recipe())))
"""


def test_any_field_of_a_recipe_from_the_command_line():
    base = "--recipe=mnist-cnn-shared-ema-cpu"
    changes = {
        "--ema_decay=none": {"ema_decay": None},
        "--ema_decay=0.5 --patience=2 --stop_after=3": {
            "ema_decay": 0.5,
            "patience": 2,
            "stop_after": 3,
        },
        "--patience=none --stop_after=none": {},
        "--augment": {"augment": True},
        "--noaugment": {},
        "--nolatent": {"latent": False, "latent_options": {}},
        "--attack=representation --attack_steps=7": {
            "attack": "representation",
            "attack_options": {"steps": 7},
            "curriculum": [],
        },
        "--attack=cw --epsilon=1.5 --attack_options=c=2": {
            "attack": "cw",
            "attack_options": {"c": 2, "norm": "l2"},
            "curriculum": [],
            "epsilon": 1.5,
        },
        "--attack_options=norm=l2 --epsilon=1.5 --step_size=0.2": {
            "attack_options": {"steps": 10, "norm": "l2", "step_size": 0.2},
            "curriculum": [[2 / 3, {"steps": 20}]],
            "epsilon": 1.5,
        },
    }
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "apps")])}
    lines = [base, *(f"{base} {change}" for change in changes)]
    command = [sys.executable, "-c", RECIPES, json.dumps(lines)]
    said = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=True)
    plain, *found = map(json.loads, said.stdout.splitlines())
    assert plain["ema_decay"] is not None and plain["latent"]
    for recipe, change in zip(found, changes.values(), strict=True):
        assert recipe == {**plain, **change}
    flagged = subprocess.run(
        [sys.executable, str(ROOT / "apps" / "train.py"), "--helpfull"],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
        check=False,
    ).stdout
    # A stage of the curriculum is --stage; name and source tell where a recipe comes from.
    for field in {*plain} - {"name", "source", "curriculum"}:
        assert re.search(rf"^  --(\[no\])?{field}:", flagged, re.MULTILINE), field


@pytest.mark.parametrize(
    ("app", "mistakes"),
    [
        (
            "train",
            {
                "--model=resnet19": "resnet18",
                "--epsilon=-0.1": "epsilon",
                "--attacks=magic": "Unknown attack",
                "--objective_options=alfa=1": "label_smoothing",
                "--initial_weights=nobody": "mnist-cnn-shared",
                "--epochs=0": "epochs",
                "--attack=cw": "give --epsilon for an attack in l2",
                "--attack=cw --epsilon=1 --objective=gat": "GAT aims its attack by a loss",
                "--attack_options=norm=l2": "give --epsilon and --step_size for an attack in l2",
                "--attack=representation --attack_options=layer=": "layer",
                "--run_dir=/nonexistent/x --resume": "resume",
            },
        ),
        ("evaluate", {"--network=nowhere --dataset=mnist-mini": "There is no such file"}),
    ],
)
def test_mistakes_are_told_in_one_line_before_any_work(app, mistakes, tmp_path):
    results = drive(app, [flags.split() for flags in mistakes], tmp_path)
    for (code, said), words in zip(results, mistakes.values(), strict=True):
        assert code == 2 and "Traceback" not in said, said
        last = said.strip().splitlines()[-1]
        assert last.startswith("Error: ") and words in last
    assert not (tmp_path / "runs").exists()


def test_run_directory_of_another_run(trained):
    root, _ = trained
    said = run(
        "train", f"--run_dir={root / 'runs/quickstart'}", "--alpha=0.1", "--resume", code=2, cwd=root
    )
    assert "alpha" in said


def test_browse_zoo_writes_the_table(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- zoo table: begin -->\nold\n<!-- zoo table: end -->\nafter\n")
    run("browse_zoo", f"--readme={readme}")
    text = readme.read_text()
    assert "mnist-cnn-shared" in text
    assert "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n")


def test_readme_table_is_current(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text())
    run("browse_zoo", f"--readme={copy}")
    assert copy.read_text() == (ROOT / "README.md").read_text()
