"""What one job of `benchmarks.agreement` is, and how its result lies on disk."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile

import numpy as np

EPSILON = {
    ("M1", "linf"): 0.3,
    ("M2", "linf"): 8 / 255,
    ("M1", "l2"): 2.0,
    ("M2", "l2"): 0.5,
}
SIZES = {"M1": 300, "M2": 200}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One attack with one seed on one network in one setting.

    Args:
        backend: "tensorflow", "jax" or "torch".
        network: "M1" or "M2".
        norm: "linf" or "l2".
        attack: a name that `bench.attacks_of` knows.
        seed: int.
        batch_size: int.
        order: "natural" or "shuffled"; the examples keep their numbers.
        shards: int, slices that are judged one by one and merged.
        points: int, how many of the first examples; 0 takes all.
        only: numbers of the examples, in place of the first `points`.
        floatx: "float32" or "float64".
        devices: int, virtual devices of the CPU.
    """

    backend: str
    network: str
    norm: str = "linf"
    attack: str
    seed: int = 0
    batch_size: int = 250
    order: str = "natural"
    shards: int = 1
    points: int = 0
    only: tuple = ()
    floatx: str = "float32"
    devices: int = 1

    @property
    def setting(self):
        """What must not change a verdict: `(batch_size, order, shards, devices)`."""
        return self.batch_size, self.order, self.shards, self.devices

    @property
    def indices(self):
        """The examples' numbers, in their natural order."""
        if self.only:
            return np.array(sorted(self.only))
        return np.arange(self.points or SIZES[self.network])

    @property
    def stem(self):
        """The name of the job's file, without its ending."""
        which = f"first{self.points}" if self.points else "all"
        if self.only:
            which = "only" + hashlib.sha256(repr(sorted(self.only)).encode()).hexdigest()[:8]
        return (
            f"{self.backend}-{self.network}-{self.norm}-{self.attack}-seed{self.seed}"
            f"-batch{self.batch_size}-{self.order}-shards{self.shards}-devices{self.devices}"
            f"-{self.floatx}-{which}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a job gave.

    Args:
        job: `Job`.
        index: `(n,)` the examples' numbers, ascending; all other arrays are in this order.
        robust: `(n,)` bool, True where the prediction is still correct.
        arrays: dict of `(n,)` floats: "margin" is the true logit less the largest other one at the
            image that the attack returned, "best_loss" the largest loss seen, "distance" the size of
            the smallest perturbation that misled, be it outside the ball; NaN where not attacked.
        meta: dict of seconds, versions, configuration and digest of the sources.
    """

    job: Job
    index: np.ndarray
    robust: np.ndarray
    arrays: dict
    meta: dict

    def at(self, numbers):
        """Return the flags of some examples, in the order of their numbers."""
        return self.robust[np.searchsorted(self.index, numbers)]

    def value(self, name, number):
        """Return one example's entry of an array."""
        return float(self.arrays[name][np.searchsorted(self.index, number)])


def write(path, data):
    """Write bytes beside the place and renames them, so that a file is whole or not there."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def save(out, result):
    """Write a result into a directory."""
    buffer = io.BytesIO()
    meta = {"job": dataclasses.asdict(result.job), **result.meta}
    np.savez_compressed(
        buffer, meta=json.dumps(meta), index=result.index, robust=result.robust, **result.arrays
    )
    write(pathlib.Path(out) / f"{result.job.stem}.npz", buffer.getvalue())


def load(path):
    """Read a result, or return None where the file is none."""
    try:
        with np.load(path) as archive:
            arrays = dict(archive)
        meta = json.loads(str(arrays.pop("meta")))
        job = meta.pop("job")
        job["only"] = tuple(job["only"])
        return Result(
            job=Job(**job),
            index=arrays.pop("index"),
            robust=arrays.pop("robust"),
            arrays=arrays,
            meta=meta,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def load_all(out):
    """Read all results of a directory, in the order of their names."""
    found = [load(path) for path in sorted(pathlib.Path(out).glob("*.npz"))]
    return [result for result in found if result is not None]
