"""What needs no framework loads none, what Windows lacks is not needed, and notes stay away."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from app_support import registered

from sharedkeras import models, objectives, recipes
from sharedkeras.attacks import registry as training_attacks
from sharedkeras.evaluation.suites import registry as suites_registry
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.training import learning_rates

ROOT = pathlib.Path(__file__).parents[2]
APPS = sorted(path.stem for path in (ROOT / "apps").glob("*.py"))
# Runs an application as a script and prints which of some modules it has loaded.
LOADED = """
import json, runpy, sys
app, frameworks, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = app
sys.path.insert(0, app.rpartition("/")[0])
code = 0
try:
    runpy.run_path(app, run_name="__main__")
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, [name for name in frameworks.split(",") if name in sys.modules]]))
"""
FRAMEWORKS = "tensorflow,jax,torch,keras,tf2onnx,tensorflow_datasets,matplotlib"


def start(app, *flags, cwd=None, **environment):
    """Return what an application said, its exit code and the frameworks that it loaded."""
    command = [sys.executable, "-c", LOADED, str(ROOT / "apps" / f"{app}.py"), FRAMEWORKS, *flags]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    return done.stdout + done.stderr, code, loaded


@pytest.mark.parametrize("app", APPS)
def test_help_and_unknown_flags_load_no_framework(app):
    said, _, loaded = start(app, "--help")
    assert f"{app}.py" in said and not loaded
    said, code, loaded = start(app, "--nonsense=1")
    assert "Unknown command line flag 'nonsense'" in said and code == 1 and not loaded


@pytest.mark.parametrize(
    ("app", "flags", "code", "words"),
    [
        ("browse_zoo", [], 0, "mnist-cnn-shared"),
        ("browse_zoo", ["--name=mnist-cnn-shared"], 0, '"sha256"'),
        ("browse_zoo", ["--name=nothing"], 2, "Unknown network"),
        ("predict", ["--network=nowhere.onnx", "digit.png"], 2, "no such ONNX file"),
        ("predict", ["--network=nowhere.onnx"], 1, "Name at least one image file"),
        ("train", ["--objective=magic"], 2, "shared-information"),
        ("train", ["--model=resnet19"], 2, "resnet18"),
        ("train", ["--recipe=magic"], 2, "quickstart"),
        ("train", ["--distribution=magic"], 1, "data_parallel"),
        ("train", ["--join"], 2, "need --distribution=data_parallel and one --run_dir"),
        ("train", ["--list_recipes"], 0, "81.87 natural, 57.40 under the paper's AutoAttack"),
        ("train", ["--max_steps=0"], 1, "max_steps"),
        ("train", ["--attack=magic"], 2, "n-fgsm"),
        ("train", ["--attacks=natural,pgd40,magic"], 2, "apgd-t"),
        ("train", ["--schedule=magic"], 2, "one-cycle"),
        ("train", ["--precision=magic"], 1, "mixed_bfloat16"),
        ("evaluate", [], 2, "--network"),
        ("evaluate", ["--network=gone.keras"], 2, "mnist-cnn-shared"),
        ("evaluate", ["--network=mnist-cnn-shared", "--attacks=magic"], 2, "autoattack"),
        ("evaluate", ["--network=mnist-cnn-shared", "--version=magic"], 1, "standard"),
        ("evaluate", ["--network=mnist-cnn-shared", "--norm=l7"], 1, "linf"),
        ("attack", ["--network=mnist-cnn-shared", "--attack=magic"], 2, "mi-fgsm"),
        ("attack", ["--network=gone", "--attack=pgd3"], 2, "mnist-cnn-shared"),
        ("export_model", ["--network=gone"], 2, "mnist-cnn-shared"),
        ("evaluate", ["--subset=last"], 1, "subset"),
        ("attack", ["--network=mnist-cnn-shared"], 2, "--attack"),
        ("export_model", ["--network=a", "--format=h5"], 1, "saved_model"),
    ],
)
def test_what_needs_no_framework_loads_none(app, flags, code, words, tmp_path):
    said, ended, loaded = start(app, *flags, cwd=tmp_path)
    assert words in said
    assert (ended, loaded) == (code, []), said
    assert not list(tmp_path.iterdir())


def test_a_framework_that_is_loaded_is_seen(tmp_path):
    """The checks above can fail."""
    (tmp_path / "text.keras").write_text("no network")
    _, code, loaded = start("evaluate", "--network=text.keras", "--dataset=mnist", cwd=tmp_path)
    assert code == 2 and "keras" in loaded


@pytest.mark.parametrize("missing", [("resource",), ("fcntl",), ("resource", "fcntl", "pwd", "grp")])
@pytest.mark.parametrize("app", APPS)
def test_every_application_starts_without_what_windows_lacks(app, missing, tmp_path):
    for name in missing:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    said, _, _ = start(app, "--help", PYTHONPATH=path)
    assert "ModuleNotFoundError" not in said and f"{app}.py" in said


@pytest.mark.parametrize(("missing", "pattern"), [([], r"\d\.\d\d GB"), (["resource"], "unknown")])
def test_peak_memory(missing, pattern):
    code = "import sys; from app_support import memory; print(memory.peak_memory())"
    hide = "".join(f"import sys; sys.modules[{name!r}] = None; " for name in missing)
    done = subprocess.run(
        [sys.executable, "-c", hide + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "apps")},
        check=False,
    )
    assert re.fullmatch(pattern, done.stdout.strip()), done.stderr


def test_names_read_from_the_source_are_those_of_the_library():
    assert list(registered.objectives()) == objectives.names()
    assert list(registered.training_attacks()) == training_attacks.names()
    assert list(registered.schedules()) == learning_rates.names()
    assert list(registered.attacks()) == suites_registry.names()
    for version in registered.versions():
        assert ensemble(version, norm="linf", epsilon=0.1)
    assert list(registered.recipes()) == sorted(recipes.names())
    families = {"resnet18-w<width>", "wrn-34-10", "wrn-<depth>-<width>"}
    assert set(registered.models()) == set(models.names()) - families


NOTES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795692234.166519   16714 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795692234.166822   16714 cudart_stub.cc:31] Could not find cuda drivers.",
    "I1126 11:23:54.166822   16714 service.cc:152] XLA service initialized",
    "E0000 00:00:1795694758.146083   21437 cuda_platform.cc:52] failed call to cuInit: INTERNAL: (303)",
    "2026-11-26 11:23:54.166822: I tensorflow/core/platform/cpu_feature_guard.cc:210] Optimized.",
)
NEWS = (
    "E0000 00:00:1795692234.166519   16714 gpu.cc:1] failed",
    "F0000 00:00:1795692234.166519   16714 check.cc:1] Check failed",
    "2026-11-26 11:23:54.166822: E tensorflow/core/framework/local_rendezvous.cc:405] failed",
    "E0000 00:00:1795694758.146083   21437 cuda_platform.cc:52] failed call to cuInit: out of memory",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "Iterations: 3",
    "from Python",
    "from a child",
)


def test_notes_are_hidden_and_everything_else_is_shown():
    lines = [*NOTES, *NEWS[:-2]]
    code = f"""
import os, subprocess, sys
from app_support import start_up
start_up.hide_notes()
start_up.hide_notes()  # Once is enough, and twice does no harm.
for line in {lines!r}:
    os.write(2, (line + "\\n").encode())
subprocess.run([sys.executable, "-c", "import sys; print('from a child', file=sys.stderr)"])
print("from Python", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "apps")},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert sorted(done.stderr.splitlines()) == sorted(NEWS)
