"""Judges the reference networks through Ray, kills a worker on the way, and compares the verdicts.

    python benchmarks/agreement.py run --reference=R --out=O --network=M2 --attacks=apgd-ce,fab-t
    python benchmarks/agreement_ray.py --reference=R --out=O --network=M2 --attacks=apgd-ce,fab-t

Needs the extra `ray`. Compared is with the runs of `agreement.py` in `--out`, of the same backend,
attack and seed. Exits with 1 where more points differ than two settings may differ in, or no worker
was killed.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import threading
import time

import agreement_compare
import agreement_jobs
import agreement_run


def main():
    """Run one network and print a line for each attack."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", required=True, help="directory of the reference data")
    parser.add_argument("--out", required=True, help="directory of the results of agreement.py")
    parser.add_argument("--backend", default="tensorflow", choices=("tensorflow", "jax"))
    parser.add_argument("--network", required=True, choices=("M1", "M2"))
    parser.add_argument("--attacks", required=True, help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--kill_after", type=float, default=25.0, help="seconds; of every evaluation")
    options = parser.parse_args()
    agreement_run.prepare(options.backend, "float32", 1)
    bench = agreement_run.Bench(options.reference, options.network, "float32")
    results = agreement_jobs.load_all(options.out)
    worst = 0
    for name in options.attacks.split(","):
        points = {"M1": 48, "M2": 100}[options.network] if name == "standard" else 0
        job = agreement_jobs.Job(
            backend=options.backend,
            network=options.network,
            attack=name,
            seed=options.seed,
            points=points,
        )
        flags, killed, seconds = judge(bench, job, options)
        known = agreement_compare.covering(results, job)
        if known is None:
            raise SystemExit(f"No run of agreement.py to compare with: {job.stem}")
        differ = [int(i) for i in job.indices[flags != known.at(job.indices)]]
        few = len(differ) <= 1 if name in agreement_compare.FEW else len(differ) <= 0.004 * len(flags)
        passed = few and killed is not None
        worst = max(worst, not passed)
        row = {
            "attack": name,
            "backend": options.backend,
            "network": options.network,
            "n": len(flags),
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

    epsilon = agreement_jobs.EPSILON[job.network, job.norm]
    common = {"norm": job.norm, "epsilon": epsilon, "seed": job.seed, "batch_size": options.batch_size}
    if job.attack == "standard":
        common["version"] = "standard"
    else:
        common |= {"version": "custom", "attacks": agreement_run.attacks_of(job)}
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
    main()
