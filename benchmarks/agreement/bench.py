"""Runs jobs of `benchmarks.agreement` in this process, on the active backend."""

import dataclasses
import hashlib
import inspect
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np

from benchmarks.agreement import jobs

_SHUFFLE = 17
_LOGIT_GAP = 1e-4
_SOURCES = ("attacks", "backend", "losses", "math", "models")
"""The packages that can change what an attack finds; their digest goes into every result."""


def prepare(backend, floatx, devices):
    """Set up what must be set before Keras is imported, and imports it.

    Args:
        backend: str, the name of Keras's backend.
        floatx: "float32" or "float64".
        devices: int, virtual devices to make of the CPU.
    """
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if devices > 1 and backend == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}".strip()
    if devices > 1 and backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(cpu, parts)
    if floatx == "float64" and backend != "tensorflow":
        raise SystemExit("float64 needs TensorFlow: on other backends BatchNorm computes in float32.")
    import keras

    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    if devices > 1:
        from sharedkeras import backend

        if len(backend.devices()) != devices:
            raise SystemExit(f"There are {len(backend.devices())} devices, not {devices}.")


class Bench:
    """A network of the reference data with its images, compiled once for many jobs.

    Args:
        reference: directory of the reference data.
        network: "M1" or "M2".
        floatx: "float32" or "float64".

    Raises:
        SystemExit: if the network's logits are not the official ones.
    """

    def __init__(self, reference, network, floatx):
        sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))
        from support import golden

        from sharedkeras.models import FrozenClassifier

        with np.load(pathlib.Path(reference) / f"{network}_testset.npz") as archive:
            x, self.y = archive["x_uint8"], archive["y"].astype("int32")
            expected = archive["logits_clean_f4"]
        x = x[..., None] if x.ndim == 3 else x
        self.x = (x.astype(floatx) / np.array(255, floatx)).astype(floatx)
        self.classifier = FrozenClassifier(getattr(golden, network)())
        self.gap = float(np.abs(np.asarray(self.classifier.predict(self.x)) - expected).max())
        if self.gap > _LOGIT_GAP:
            raise SystemExit(f"{network} gives other logits than the official ones: {self.gap}")

    def run(self, job):
        """Run one job and return its `Result`."""
        from sharedkeras import evaluation

        began, busy = time.perf_counter(), time.process_time()
        logs = []
        order = job.indices
        if job.order == "shuffled":
            order = np.random.default_rng(_SHUFFLE).permutation(order)
        common = {"batch_size": job.batch_size, "seed": job.seed, "index": order, "verbose": False}
        if "devices" in inspect.signature(evaluation.evaluate).parameters:
            common["devices"] = job.devices
        data = self.classifier, self.x[order], self.y[order]
        epsilon = jobs.EPSILON[job.network, job.norm]
        common |= {} if job.shards == 1 and job.attack != "standard" else {"epsilon": epsilon}
        if job.attack == "standard":
            attacks = evaluation.ensemble("standard", norm=job.norm, epsilon=epsilon)
            common |= {"version": "standard", "norm": job.norm}
            judge = evaluation.autoattack
        else:
            attacks = attacks_of(job)
            common["attacks"] = {name: _recorded(attack, logs) for name, attack in attacks.items()}
            judge = evaluation.evaluate
            if job.shards > 1:
                # A cascade of one attack is that attack alone, and it can be cut into slices.
                common |= {"version": "custom", "norm": job.norm}
                judge = evaluation.autoattack
        if job.shards == 1:
            report = judge(*data, **common)
        else:
            slices = [judge(*data, shard=(i, job.shards), **common) for i in range(job.shards)]
            report = evaluation.merge(slices)
        rows = np.argsort(report.indices)
        index = report.indices[rows]
        robust = report.robust_flags[rows]
        arrays = _collected(logs, index)
        if job.attack == "standard":
            adv = report.adversarial[rows].astype(self.x.dtype)
            arrays["margin"] = self._margins(adv, self.y[index], job.batch_size)
        return jobs.Result(
            job=job,
            index=index,
            robust=robust,
            arrays=arrays,
            meta={
                "accuracy": float(robust.mean()),
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - busy,
                "seconds_by_attack": report.seconds,
                "epsilon": epsilon,
                "attacks": {name: repr(attack) for name, attack in attacks.items()},
                "logit_gap": self.gap,
                "versions": report.versions,
                "sources": digest(_SOURCES),
                "evaluation": digest(("evaluation",)),
                "devices": sorted({log["device"] for log in logs}),
                "cpus": len(os.sched_getaffinity(0)),
            },
        )

    def _margins(self, x, y, batch_size):
        """Compute the margins in passes of one shape, so that nothing is compiled for a rest."""
        size = min(batch_size, len(x))
        padded = np.concatenate([x, np.repeat(x[:1], -len(x) % size, axis=0)])
        parts = [padded[i : i + size] for i in range(0, len(padded), size)]
        logits = np.concatenate([np.asarray(self.classifier.predict(part)) for part in parts])
        return margin(logits[: len(x)], y)


def attacks_of(job):
    """Return the attack of a job, as a dict of one entry with the job's own name for it.

    Args:
        job: `Job` with the attack "apgd-ce", "apgd-dlr", "apgd-t", "fab-t" or "square-q<queries>".

    Raises:
        SystemExit: if the name is unknown.
    """
    from sharedkeras.attacks import APGD, FAB, Square

    ball = {"norm": job.norm, "epsilon": jobs.EPSILON[job.network, job.norm]}
    if job.attack == "apgd-t":
        attack = APGD(loss="dlr-targeted", targets=9, **ball)
    elif job.attack in ("apgd-ce", "apgd-dlr"):
        attack = APGD(loss=job.attack.removeprefix("apgd-"), **ball)
    elif job.attack == "fab-t":
        attack = FAB(targeted=True, targets=9, **ball)
    elif job.attack.startswith("square-q"):
        attack = Square(queries=int(job.attack.removeprefix("square-q")), **ball)
    else:
        raise SystemExit(f"Unknown attack: {job.attack}")
    return {job.attack: attack}


def _recorded(attack, log):
    """Wrap an attack so that it notes what the judge does not keep: margins and losses of failures."""
    from sharedkeras.attacks import Attack

    @dataclasses.dataclass(frozen=True)
    class Recorded(Attack):
        attack: Any
        norm: str
        epsilon: float
        black_box: bool

        def run(self, classifier, x, y, *, index, **given):
            result = self.attack.run(classifier, x, y, index=index, **given)
            logits = np.asarray(classifier.predict(result.adversarial))
            log.append(
                {
                    "index": np.asarray(index),
                    "device": str(getattr(result.adversarial, "device", "")),
                    "margin": margin(logits, np.asarray(y)),
                    **{k: np.asarray(getattr(result, k)) for k in ("best_loss", "distance", "queries")},
                }
            )
            return result

    return Recorded(attack, attack.norm, attack.epsilon, attack.black_box)


def margin(logits, y):
    """Compute the true logit less the largest other one, `(n,)`."""
    rows = np.arange(len(y))
    others = logits.copy()
    others[rows, y] = -np.inf
    return logits[rows, y] - others.max(axis=1)


def _collected(logs, index):
    """Put what was noted in the order of the examples; NaN where an example was not attacked."""
    arrays = {}
    for log in logs:
        # A batch is filled up with copies of its first example: of copies the first counts.
        numbers, first = np.unique(log["index"], return_index=True)
        for name, values in log.items():
            if name not in ("index", "device"):
                whole = arrays.setdefault(name, np.full(len(index), np.nan, "float64"))
                whole[np.searchsorted(index, numbers)] = values[first]
    return arrays


def digest(packages):
    """Compute the SHA-256 of packages' sources, 12 hexadecimal digits of it.

    Args:
        packages: names of packages of sharedkeras.
    """
    import sharedkeras

    root = pathlib.Path(sharedkeras.__file__).parent
    value = hashlib.sha256()
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            value.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return value.hexdigest()[:12]


def run(asked, *, reference, out):
    """Run jobs of one network and write their results; leaves out what is there already.

    Args:
        asked: list of `Job` that share backend, network, floatx and devices.
        reference: directory of the reference data.
        out: directory of the results.
    """
    todo = [job for job in asked if jobs.load(pathlib.Path(out) / f"{job.stem}.npz") is None]
    for job in asked:
        if job not in todo:
            print(f"{job.stem}: there already", flush=True)
    if not todo:
        return
    first = todo[0]
    prepare(first.backend, first.floatx, first.devices)
    bench = Bench(reference, first.network, first.floatx)
    for job in todo:
        result = bench.run(job)
        jobs.save(out, result)
        print(
            f"{job.stem}: accuracy {result.meta['accuracy']:.4f}, {result.meta['seconds']:.1f} s "
            f"({result.meta['cpu_seconds']:.1f} s of CPU)",
            flush=True,
        )
