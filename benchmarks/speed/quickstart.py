"""Times the quick start by its parts, of this checkout and of others, in turns.

    python -m benchmarks.speed.quickstart --output=benchmarks/results/quickstart.md \
        --before=../older --seeds=0,1

What is timed is `python apps/train.py` from its start to its last line, exporting included; `--before`
is a checkout of an older commit, run in the same environment. Nothing else should run.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from sharedkeras.files import write_atomically

_BEFORE = flags.DEFINE_list("before", [], "Checkouts of older commits.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the runs.")
_OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write; printed in any case.")

_HERE = pathlib.Path(__file__).parents[2]
_PARTS = ("start", "training", "attacking", "exporting")
_HEADING = re.compile(r"^\[[^]]+\] (\w+)")
_JUDGED = ("pgd20", "pgd40", "cw")


def one(checkout, seed):
    """Run the quick start of a checkout.

    Args:
        checkout: directory.
        seed: str.

    Returns:
        Dict of seconds by part, the commit and the accuracies.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, str(checkout / "apps" / "train.py"), f"--seed={seed}"]
        began = time.perf_counter()
        seconds = {}
        with subprocess.Popen(
            [*command, "--run_dir=run"],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            part, since = "start", began
            for line in process.stdout:
                if heading := _HEADING.match(line):
                    now = time.perf_counter()
                    seconds[part], since = now - since, now
                    part = heading[1].lower()
        if process.returncode:
            raise RuntimeError(f"{checkout}: the quick start ended with {process.returncode}.")
        total = time.perf_counter() - began
        report = json.loads((pathlib.Path(directory) / "run" / "report.json").read_text())
        config = json.loads((pathlib.Path(directory) / "run" / "config.json").read_text())
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "commit": commit.stdout.strip(),
        "backend": config["versions"]["backend"],
        "seed": seed,
        **{part: seconds[part] for part in _PARTS},
        "all": total,
        "natural": report["clean"],
        **{name: report["accuracy"][name] for name in _JUDGED},
    }


def line(row):
    """Return a run's line of the table."""
    told = [row["commit"], row["seed"]]
    told += [f"{row[name]:.0f}" for name in (*_PARTS, "all")]
    told += [f"{100 * row[name]:.1f}" for name in ("natural", *_JUDGED)]
    return f"| {' | '.join(told)} |"


def main(_):
    """Print a line for each run, and write the table that is asked for."""
    head = ["commit", "seed", *(f"{part} s" for part in (*_PARTS, "all"))]
    head += ["natural %", "PGD-20 %", "PGD-40 %", "C&W %"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    print("\n".join(lines), flush=True)
    for seed in _SEEDS.value:
        for checkout in (*map(pathlib.Path, _BEFORE.value), _HERE):
            row = one(checkout.resolve(), seed)
            lines.append(line(row))
            print(lines[-1], flush=True)
    lines += ["", f"`python apps/train.py` on {len(os.sched_getaffinity(0))} CPUs, {row['backend']}."]
    if _OUTPUT.value:
        path = pathlib.Path(_OUTPUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    app.run(main)
