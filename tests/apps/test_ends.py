"""How applications end, where their results go, and how an interrupted one goes on."""

import errno
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest
from app_support import ending, results, run_dirs, unfinished
from support import onnx_files
from support.applications import ROOT, drive

from sharedkeras.files import locked


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def _signals():
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in held.items():
        signal.signal(number, handler)
    ending.on_stop(None)


def raising(error):
    def main(_):
        raise error

    return main


def killing(number):
    def main(_):
        os.kill(os.getpid(), number)
        raise AssertionError("The signal was lost.")

    return main


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize(
    ("main", "code", "words"),
    [
        (lambda _: None, None, ""),
        (raising(ValueError("a wrong flag")), 2, "Error: a wrong flag"),
        (raising(FileNotFoundError("no such file")), 2, "Error: no such file"),
        (raising(ImportError("no ray")), 2, "Error: no ray"),
        (raising(OSError(errno.ENOSPC, "No space left on device")), 1, "Error: The disk is full"),
        (raising(OSError(errno.EDQUOT, "Quota exceeded")), 1, "Error: The disk is full"),
        (raising(KeyboardInterrupt()), 130, "Stopped. Go on so."),
        (killing(signal.SIGINT), 130, "Stopped. Go on so."),
        (killing(signal.SIGTERM), 143, "Stopped. Go on so."),
    ],
)
def test_every_end_has_its_code_and_one_line(main, code, words, capsys):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ending.on_stop(lambda: "Go on so.")
    if code is None:
        ending.guarded(main, [])
    else:
        with pytest.raises(SystemExit) as end:
            ending.guarded(main, [])
        assert end.value.code == code
    said = capsys.readouterr().err.strip()
    assert words in said and len(said.splitlines()) == (code is not None)


@pytest.mark.usefixtures("_signals")
def test_faults_of_the_program_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        ending.guarded(raising(ZeroDivisionError()), [])


def test_a_child_does_not_outlive_its_parent(here):
    code = "import time, pathlib; pathlib.Path('started').touch(); time.sleep(60)"
    parent = f"""
import sys
from app_support import ending
ending.guarded(lambda _: ending.run_child([sys.executable, "-c", {code!r}]), [])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        env={**os.environ, "PYTHONPATH": str(ROOT / "apps")},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not pathlib.Path("started").exists():
        assert process.poll() is None
    (child,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.terminate()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 143 and said.strip() == "Stopped."
    assert not pathlib.Path(f"/proc/{child}").exists()


def test_processes_that_start_at_once_get_a_directory_each(here):
    code = "from app_support import run_dirs; print(run_dirs.claim('mine'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "apps")}
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    said = {process.communicate()[0].strip() for process in started}
    assert said == {"runs/mine", *(f"runs/mine-{n}" for n in range(2, 7))}
    assert run_dirs.newest("mine") == pathlib.Path("runs/mine-6")
    assert run_dirs.newest("other") is None


def unwritable(here, monkeypatch):
    """Directories in which nothing can be written, root or not."""
    (here / "file").touch()
    yield "file"
    yield "file/below"
    yield "/proc/nothing"
    yield "/dev/null"
    if os.name == "posix":
        yield "/proc/self/fdinfo"


def test_directories_that_cannot_be_written_are_refused(here, monkeypatch):
    for path in unwritable(here, monkeypatch):
        with pytest.raises(ValueError, match=rf"cannot be written.*--run_dir={path}"):
            run_dirs.check_writable(path)
        with (
            pytest.raises(ValueError, match="cannot be written"),
            run_dirs.results_in(path, "mine"),
        ):
            raise AssertionError("work has begun")


def test_without_a_place_for_runs_the_flag_is_named(here):
    (here / "runs").touch()
    with pytest.raises(ValueError, match=r"No directory can be made.*--run_dir"):
        run_dirs.claim("mine")


def test_directories_that_stay_empty_go_again(here):
    with run_dirs.results_in(None, "mine") as first, run_dirs.results_in("other/one", "") as second:
        assert first.is_dir() and second.is_dir()
    assert not (here / "runs").exists() and not second.exists()
    second.mkdir()
    with run_dirs.results_in(second, ""):
        pass
    assert second.is_dir()  # It was there before.
    with run_dirs.results_in(None, "mine") as first:
        (first / "report.json").touch()
    assert first.is_dir()


def test_results_go_elsewhere_where_their_directory_cannot_be_written(here, capsys):
    def write(path):
        (path / "report.json").write_text("{}")

    assert results.write("mine", write) == (pathlib.Path("mine"), True)
    (here / "file").touch()
    for path in ("file", "/proc/nothing"):
        other, written = results.write(path, write)
        assert not written and (other / "report.json").read_text() == "{}"
        said = capsys.readouterr().err
        assert f"{path} cannot be written" in said and str(other) in said


@pytest.mark.usefixtures("_signals")
def test_finished_batches_are_kept_only_while_they_are_needed(here):
    out = here / "out"
    out.mkdir()
    with unfinished.kept_in(None, out) as path:
        (path / "batch.npz").touch()
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt), unfinished.kept_in(None, out) as path:
        raise KeyboardInterrupt
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt), unfinished.kept_in(None, out) as path:
        (path / "batch.npz").touch()
        raise KeyboardInterrupt
    assert path.exists() and path.parent == out
    with pytest.raises(ValueError, match="two directories"), unfinished.kept_in("out", out):
        raise AssertionError("work has begun")
    with unfinished.kept_in(here / "asked", out) as path:
        path.mkdir()
        (path / "batch.npz").touch()
    assert path == here / "asked" and path.exists()


# Modules that a test gives to --import: they stop or hinder an application at a known place.
STOP = """
import os, pathlib, signal
import onnxruntime
run = onnxruntime.InferenceSession.run

def stopping(self, *arguments, **options):
    if list(pathlib.Path("{out}").rglob("*.npz")):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.{signal})
    return run(self, *arguments, **options)

onnxruntime.InferenceSession.run = stopping
"""
HINDER = """
import errno
from sharedkeras.evaluation import Report
to_json = Report.to_json

def hindered(self, path):
    if "hindered" in str(path):
        raise OSError(errno.EROFS, "Read-only file system")
    return to_json(self, path)

Report.to_json = hindered
"""
STOP_TRAINING = """
import os, signal
from sharedkeras.training.callbacks import Keeper

def stopping(self, batch, logs=None):
    if (self._epoch, batch) == (1, 0):
        os.kill(os.getpid(), signal.SIGTERM)

Keeper.on_train_batch_end = stopping
"""
FULL = """
import errno, os, pathlib
replace = os.replace

def full(source, target):
    if list(pathlib.Path("{directory}").rglob("{kept}")):
        raise OSError(errno.ENOSPC, "No space left on device")
    replace(source, target)

os.replace = full
"""
FLAGS = ["--network=my.onnx", "--dataset=mnist-mini", "--queries=3", "--epsilon=0.02", "--batch_size=16"]


def without_import(command):
    """Return the flags of the command that an application printed last."""
    flags = shlex.split(command.strip().splitlines()[-1])[2:]
    return [flag for flag in flags if not flag.startswith("--import")]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    root = tmp_path_factory.mktemp("ends")
    onnx_files.write(root / "my.onnx", (28, 28, 1))
    for name in ("SIGINT", "SIGTERM"):
        (root / f"stop_{name}.py").write_text(STOP.format(out=name, signal=name))
    (root / "hinder.py").write_text(HINDER)
    (root / "stop_training.py").write_text(STOP_TRAINING)
    (root / "full_training.py").write_text(FULL.format(directory="full", kept="epoch-0001.npz"))
    (root / "full_judging.py").write_text(FULL.format(directory="judged", kept="*.npz"))
    return root


@pytest.mark.parametrize(
    ("app", "flags", "number"),
    [
        ("evaluate", ["--attacks=square"], "SIGINT"),
        pytest.param("attack", ["--attack=square"], "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_application_goes_on(network, app, flags, number):
    few = [*FLAGS, *flags, "--eval_examples=600"]
    ((code, said),) = drive(app, [[*few, f"--import=stop_{number}", f"--run_dir={number}"]], network)
    assert code == {"SIGINT": 130, "SIGTERM": 143}[number] and "Traceback" not in said
    assert "Stopped. Finished batches are kept. To go on:" in said
    assert said.count(f"--run_dir={number}") == 1
    results = drive(app, [without_import(said), [*few, "--run_dir=unbroken"]], network)
    assert [code for code, _ in results] == [0, 0], results
    resumed, unbroken = (
        json.loads((network / d / "report.json").read_text()) for d in (number, "unbroken")
    )
    assert resumed["flags"] == unbroken["flags"]
    assert len(list((network / number).glob("unfinished-*"))) == 1  # The user named it now.


@pytest.mark.slow
def test_training_that_is_stopped_goes_on(network):
    flags = ["--objective=standard", "--epochs=2", "--batch_size=25", "--validation_size=9950"]
    flags += ["--validation_examples=5", "--eval_examples=0", "--noexport", "--run_dir=trained"]
    ((code, said),) = drive("train", [[*flags, "--import=stop_training"]], network)
    assert code == 143 and "Traceback" not in said
    assert "Stopping after this update." in said
    assert "Stopped. To go on from the last checkpoint:" in said
    assert said.count("--run_dir=trained") == 1
    ((code, said),) = drive("train", [without_import(said)], network)
    assert code == 0, said
    assert "1 of 2 epochs and 1 updates of the next are done" in said
    assert len((network / "trained/metrics.csv").read_text().splitlines()) == 3


TRAIN = ["--objective=standard", "--epochs=2", "--batch_size=50", "--eval_examples=0", "--noexport"]


@pytest.mark.slow
def test_training_on_a_disk_that_is_full_goes_on(network):
    flags = [*TRAIN, "--validation_size=9950", "--validation_examples=5", "--run_dir=full"]
    ((code, said),) = drive("train", [[*flags, "--import=full_training"]], network)
    assert code == 1 and "Traceback" not in said
    assert re.search(
        r"Error: The disk is full: .*full/(last|best)\.keras'\. To go on from the last", said
    )
    names = [path.name for path in (network / "full").rglob("*")]
    assert "epoch-0001.npz" in names and not [name for name in names if name.endswith(".tmp.keras")]
    ((code, said),) = drive("train", [without_import(said)], network)
    assert code == 0 and "1 of 2 epochs are done" in said


@pytest.mark.slow
def test_judging_on_a_disk_that_is_full_goes_on(network):
    few = [*FLAGS, "--attacks=square", "--eval_examples=600", "--run_dir=judged"]
    ((code, said),) = drive("evaluate", [[*few, "--import=full_judging"]], network)
    assert code == 1 and "Traceback" not in said
    assert "Error: The disk is full" in said and "Finished batches are kept. To go on:" in said
    ((code, said),) = drive("evaluate", [without_import(said)], network)
    assert code == 0 and json.loads((network / "judged" / "report.json").read_text())["n"] == 600


@pytest.mark.slow
def test_training_that_diverges_says_at_which_update_and_what_is_kept(network):
    flags = [*TRAIN, "--learning_rate=1e6", "--validation_examples=5"]
    runs = [
        [*flags, "--validation_size=9900", "--run_dir=validated"],
        [*flags, "--validation_size=0", "--max_steps=5", "--run_dir=alone"],
    ]
    for code, said in drive("train", runs, network):
        assert code == 2 and "Traceback" not in said
        last = said.strip().splitlines()[-1]
        assert re.search(r"Error: Training diverged: .* is (nan|-?inf) at update [2-6]\. ", last), last
        assert "What the epochs before have left is kept as it was." in last
    for name in ("validated", "alone"):
        assert (network / name / "config.json").exists()
        assert not list((network / name).rglob("*.keras"))


def test_results_are_not_lost_at_the_end(network):
    flags = [*FLAGS, "--attacks=square", "--eval_examples=16"]
    results = drive("evaluate", [[*flags, "--import=hinder", "--run_dir=hindered"]], network)
    ((code, said),) = results
    assert code == 1 and "Traceback" not in said
    assert "worst case" in said and "hindered cannot be written: [Errno 30]" in said
    report = pathlib.Path(said.split("report      ")[1].split()[0])
    assert report.exists() and json.loads(report.with_name("report.json").read_text())["n"] == 16


def test_a_directory_that_another_process_works_in_is_refused(network):
    (network / "held").mkdir()
    flags = [*FLAGS, "--attacks=square", "--eval_examples=16", "--run_dir=held"]
    with locked(network / "held"):
        ((code, said),) = drive("evaluate", [flags], network)
    assert code == 2 and "Traceback" not in said
    assert f"(number {os.getpid()}) works in this directory" in said.strip().splitlines()[-1]


def test_a_directory_that_cannot_be_written_is_found_before_the_work(network):
    (network / "taken").touch()
    flags = [*FLAGS, "--eval_examples=16"]
    runs = [
        [*flags, "--attacks=square", f"--run_dir={d}"] for d in ("taken", "taken/below", "/proc/nothing")
    ]
    for code, said in drive("evaluate", runs, network):
        assert code == 2 and "cannot be written" in said and "%" not in said
    for code, said in drive("attack", [[*flags, "--attack=square", "--run_dir=taken"]], network):
        assert code == 2 and "cannot be written" in said and "%" not in said
