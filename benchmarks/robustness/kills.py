"""Kills training, evaluation, export and publishing at random moments, and looks at what is left.

    python benchmarks/robustness/kills.py
    python benchmarks/robustness/kills.py --tasks=training --kills=5

A task runs in a process of its own, which is killed with SIGKILL. Training and evaluation go on from
what is left until the kills are used up; they must end where an unbroken run ends. Export and publishing
replace older files again and again: after each kill each must be the old one or the new one, whole.
The backend is that of `KERAS_BACKEND`.
"""

import collections
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
from absl import app, flags

flags.DEFINE_list("tasks", None, "Of training, evaluation, export, publish; default: all.")
flags.DEFINE_integer("kills", 20, "Kills of each task.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the moments.")
flags.DEFINE_string("job", None, "Only for the processes that this one starts.")
flags.DEFINE_string("folder", None, "Only for the processes that this one starts.")
flags.DEFINE_integer("version", 0, "Only for the processes that this one starts.")
FLAGS = flags.FLAGS


def train(folder, version):
    """Train a tiny network, or go on."""
    import dataclasses

    from sharedkeras import recipes, training

    recipe = dataclasses.replace(
        recipes.get("quickstart"),
        epochs=6,
        attack_steps=1,
        step_size=0.075,
        validation_size=9500,
        validation_examples=50,
        batch_size=50,
    )
    run_dir = folder / "run"
    resume = (run_dir / "config.json").exists()
    run = training.fit(recipe, run_dir, resume=resume, deterministic=True, verbose=0)
    return [w.tolist() for w in run.network.get_weights()[-2:]]


def judge(folder, version):
    """Judge the zoo's first network on a few images, or go on."""
    import zoo
    from sharedkeras import attacks, data, evaluation

    test = data.load("mnist-mini", "test")
    rows = data.subset(len(test.x), 40)
    report = evaluation.autoattack(
        zoo.load("mnist-cnn-shared"),
        test.x[rows],
        test.y[rows],
        epsilon=0.3,
        version="custom",
        attacks={
            "apgd-ce": attacks.APGD(epsilon=0.3, steps=25),
            "square": attacks.Square(epsilon=0.3, queries=300),
        },
        batch_size=4,
        resume_from=folder / "kept",
        verbose=False,
    )
    return {name: kept.tolist() for name, kept in report.flags.items()}


def network_of(version):
    """Build a small network whose weights tell its version."""
    keras.utils.set_random_seed(version)
    inputs = keras.Input((28, 28, 1), name="images")
    x = keras.layers.Conv2D(8, 3, data_format="channels_last", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x), name="small")


def export_(folder, version):
    """Replace both exports."""
    import export

    network = network_of(version)
    export.onnx(network, folder / "network.onnx", overwrite=True)
    export.saved_model(network, folder / "network", overwrite=True)
    return version


def publish(folder, version):
    """Replace an entry of a zoo."""
    import zoo

    zoo.publish(folder / "run", "mine", root=folder / "zoo", hardware=f"version {version}", replace=True)
    return version


JOBS = {"training": train, "evaluation": judge, "export": export_, "publish": publish}


def start(task, folder, version=0):
    """Start a task; what it returns goes into a file."""
    command = [sys.executable, __file__, f"--job={task}", f"--folder={folder}", f"--version={version}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process, folder):
    """Wait for a task and return what it returned.

    Raises:
        RuntimeError: with its last words, if it failed.
    """
    said = process.communicate()[1]
    if process.returncode != 0:
        raise RuntimeError(f"The process ended with {process.returncode}: {said[-600:].decode()}")
    return json.loads((folder / "result.json").read_text())


def going_on(task, draws):
    """Kill a task that goes on from where it was; return the outcomes of its kills."""
    with tempfile.TemporaryDirectory() as name:
        whole = pathlib.Path(name) / "whole"
        whole.mkdir()
        began = time.perf_counter()
        expected = finished(start(task, whole), whole)
        length = time.perf_counter() - began
        broken = pathlib.Path(name) / "broken"
        broken.mkdir()
        kills, fresh = 0, True
        while kills < FLAGS.kills:
            began = time.perf_counter()
            process = start(task, broken)
            try:
                process.wait(draws.uniform(0.2, 1.0) * length)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills, fresh = kills + 1, False
                process.communicate()
                continue
            if finished(process, broken) != expected:
                return {"another end": 1, "killed": kills}
            if fresh:  # It was finished before its moment, in the time that the machine needs now.
                length = min(length, time.perf_counter() - began)
            fresh = True
            broken = pathlib.Path(tempfile.mkdtemp(dir=name))
        is_same = finished(start(task, broken), broken) == expected
        return {"the same end": kills} if is_same else {"another end": 1, "killed": kills}


def replacing(task, draws, prepare, found):
    """Kill a task that replaces something; return the outcomes of its kills."""
    outcomes = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(folder)
        began = time.perf_counter()
        now = [finished(start(task, folder, 1), folder)] * len(found(folder, [1]))
        length = time.perf_counter() - began
        version = 1
        while sum(outcomes.values()) < FLAGS.kills:
            version += 1
            began = time.perf_counter()
            process = start(task, folder, version)
            try:
                # Most of the time passes before the first file is written.
                process.wait(draws.uniform(0.5, 1.0) * length)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                there = found(folder, range(1, version + 1))
                pairs = list(zip(there, now, strict=True))
                if all(new in (old, version) for new, old in pairs):
                    outcomes["old" if there == now else "new"] += 1
                else:
                    outcomes["else"] += 1
                now = there
                continue
            now = [finished(process, folder)] * len(now)
            length = min(length, time.perf_counter() - began)  # What the machine needs now.
    return outcomes


def exported(folder, versions):
    """Return the version of each export, -1 for what is none."""
    import export

    x = np.random.default_rng(0).random((3, 28, 28, 1)).astype("float32")
    there = []
    for path, load in (("network.onnx", export.load_onnx), ("network", export.load_saved_model)):
        logits = np.asarray(load(folder / path)(x))
        fits = [v for v in versions if np.allclose(np.asarray(network_of(v)(x)), logits, atol=1e-4)]
        there.append(fits[0] if fits else -1)
    return there


def published(folder, versions):
    """Return the version of the entry, -1 where card and weights do not fit."""
    from zoo import card_reader, cards_index, loading, packing

    (path,) = cards_index.card_files(folder / "zoo")
    card = card_reader.read_card(path)
    data = (folder / "zoo" / "weights" / card["weights"]["file"]).read_bytes()
    network = loading.build(card["network"])
    packing.unpack(data, network)
    version = int(card["training"]["hardware"].removeprefix("version "))
    return [version if version in versions else -1]


def a_run(folder):
    """Make a run with its report."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from damage.groups.publish import make_run

    make_run(folder / "run")


def main(_):
    """Kill, look, print a table; exit code 1 where anything but an old or a new state is found."""
    if FLAGS.job:
        folder = pathlib.Path(FLAGS.folder)
        result = JOBS[FLAGS.job](folder, FLAGS.version)
        (folder / "result.json").write_text(json.dumps(result))
        return
    draws = np.random.default_rng(FLAGS.seed)
    rows = {}
    for task in FLAGS.tasks or JOBS:
        began = time.perf_counter()
        if task == "export":
            rows[task] = replacing(task, draws, lambda folder: None, exported)
        elif task == "publish":
            rows[task] = replacing(task, draws, a_run, published)
        else:
            rows[task] = going_on(task, draws)
        told = ", ".join(f"{outcome} {count}" for outcome, count in rows[task].items())
        print(f"{task:<12} {told} ({time.perf_counter() - began:.0f} s)", flush=True)
    if any({"else", "another end"} & set(outcomes) for outcomes in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
