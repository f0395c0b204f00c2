"""Judges the reference networks through Ray, kills a worker on the way, and compares the verdicts.

    python -m benchmarks.agreement run --reference=R --out=O --network=M2 --attacks=apgd-ce,fab-t
    python -m benchmarks.agreement.on_ray --reference=R --out=O --network=M2 --attacks=apgd-ce,fab-t

Needs the extra `ray`. The runs of `benchmarks.agreement` in `--out` with the same backend, attack and
seed are compared with. Exits with 1 where more points differ than two settings may differ in, or no
worker was killed.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time

from absl import app, flags

from benchmarks.agreement import bench as benches
from benchmarks.agreement import compare, jobs

flags.DEFINE_string("reference", None, "Directory of the reference data.", required=True)
flags.DEFINE_string("out", None, "Directory of the results of benchmarks.agreement.", required=True)
flags.DEFINE_enum("backend", "tensorflow", ["tensorflow", "jax"], "Keras's backend.")
flags.DEFINE_enum("network", None, ["M1", "M2"], "Network of the reference data.", required=True)
flags.DEFINE_list("attacks", None, "Names of attacks.", required=True)
flags.DEFINE_integer("seed", 0, "Seed.")
flags.DEFINE_integer("shards", 4, "Slices.")
flags.DEFINE_integer("batch_size", 250, "Images at once.")
flags.DEFINE_float("kill_after", 25.0, "Seconds after which a worker of every evaluation is killed.")


def main(_):
    """Run one network and print a line for each attack."""
    options = flags.FLAGS
    benches.prepare(options.backend, "float32", 1)
    bench = benches.Bench(options.reference, options.network, "float32")
    results = jobs.load_all(options.out)
    worst = 0
    for name in options.attacks:
        points = {"M1": 48, "M2": 100}[options.network] if name == "standard" else 0
        job = jobs.Job(
            backend=options.backend,
            network=options.network,
            attack=name,
            seed=options.seed,
            points=points,
        )
        verdicts, killed, seconds = judge(bench, job, options)
        known = compare.covering(results, job)
        if known is None:
            raise SystemExit(f"No run of benchmarks.agreement to compare with: {job.stem}")
        differ = [int(i) for i in job.indices[verdicts != known.at(job.indices)]]
        few = len(differ) <= 1 if name in compare.FEW else len(differ) <= 0.004 * len(verdicts)
        passed = few and killed is not None
        worst = max(worst, not passed)
        row = {
            "attack": name,
            "backend": options.backend,
            "network": options.network,
            "n": len(verdicts),
            "shards": options.shards,
            "killed_worker": killed,
            "differ": differ,
            "seconds": round(seconds, 1),
            "verdict": "PASS" if passed else "FAIL",
        }
        print(json.dumps(row), flush=True)
    sys.exit(worst)


def judge(bench, job, options):
    """Run one job through Ray; returns flags, what was killed, and seconds."""
    from sharedkeras import evaluation

    epsilon = jobs.EPSILON[job.network, job.norm]
    common = {"norm": job.norm, "epsilon": epsilon, "seed": job.seed, "batch_size": options.batch_size}
    if job.attack == "standard":
        common["version"] = "standard"
    else:
        common |= {"version": "custom", "attacks": benches.attacks_of(job)}
    killer = Killer(options.kill_after)
    killer.start()
    began = time.perf_counter()
    try:
        report = evaluation.autoattack_on_ray(
            bench.classifier.network,
            bench.x[job.indices],
            bench.y[job.indices],
            shards=options.shards,
            **common,
        )
    finally:
        killer.done.set()
        killer.join()
    return report.robust_flags, killer.killed, time.perf_counter() - began


class Killer(threading.Thread):
    """Kills one worker at work, so many seconds after slices have begun."""

    def __init__(self, seconds):
        super().__init__(daemon=True)
        self.seconds, self.killed, self.done = seconds, None, threading.Event()

    def run(self):
        """Wait for workers, then kills one, once."""
        while not self.done.wait(0.5):
            if self.at_work():
                break
        if self.done.wait(self.seconds):
            return
        workers = self.at_work()
        if workers:
            os.kill(workers[0][0], signal.SIGKILL)
            self.killed = f"{workers[0][1]}, after {self.seconds:g} s"

    @staticmethod
    def at_work():
        """List `(pid, title)` of Ray's workers that judge a slice."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except (OSError, UnicodeDecodeError):
                continue
            if entry.name.isdigit() and title.startswith("ray::") and "slice" in title:
                found.append((int(entry.name), title))
        return sorted(found)


if __name__ == "__main__":
    app.run(main)
