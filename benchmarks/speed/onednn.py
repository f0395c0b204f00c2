"""Times the quick start's first epoch on TensorFlow with oneDNN off and on, in turns.

    ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.speed.onednn

With that variable as on a CPU without AVX-512, where TensorFlow leaves oneDNN off by itself. Every run
is `python apps/train.py` in a process and a directory of its own; what is timed includes validation.
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

_ROUNDS = flags.DEFINE_integer("rounds", 1, "How often off and on take turns.", lower_bound=1)
_TRAIN = pathlib.Path(__file__).parents[2] / "apps" / "train.py"
_STATES = {"off": "0", "on": "1", "default": None}


def first_epoch(state):
    """Train one epoch.

    Args:
        state: "off", "on", or "default" for what the application sets by itself.

    Returns:
        `(seconds, backend)`: of the epoch, and what the run's configuration says of TensorFlow.
    """
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    if _STATES[state] is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = _STATES[state]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, str(_TRAIN), "--epochs=1", "--eval_examples=0", "--noexport"]
        subprocess.run(
            [*command, "--run_dir=run"],
            cwd=directory,
            env={**environment, "KERAS_BACKEND": "tensorflow"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        run = pathlib.Path(directory) / "run"
        (row,) = csv.DictReader((run / "metrics.csv").read_text().splitlines())
        backend = json.loads((run / "config.json").read_text())["versions"]["backend"]
    return float(row["seconds"]), backend


def main(_):
    """Print a line of JSON for each run."""
    for _ in range(_ROUNDS.value):
        for state in _STATES:
            seconds, backend = first_epoch(state)
            figures = {"oneDNN": state, "backend": backend, "seconds": round(seconds, 1)}
            figures["max_isa"] = os.environ.get("ONEDNN_MAX_CPU_ISA")
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    app.run(main)
