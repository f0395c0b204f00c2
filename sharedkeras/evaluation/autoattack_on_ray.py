"""AutoAttack on many machines: one Ray task for each slice."""

import contextlib
import logging
import math
import os
import pathlib
import sys
import tempfile
import time
import warnings
import zipfile

import keras
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sharedkeras.arguments import need_count, need_positive
from sharedkeras.data import check_images, check_labels
from sharedkeras.evaluation.autoattack import autoattack
from sharedkeras.evaluation.estimating.rounds import VERSION
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.merge import merge
from sharedkeras.files import save_network
from sharedkeras.models import FrozenClassifier

_CANCEL_SECONDS = 15.0  # Ray itself takes 5 s before it kills a worker that does not answer.


def autoattack_on_ray(
    network,
    x,
    y=None,
    *,
    shards,
    retries=3,
    num_cpus_per_shard=1,
    num_gpus_per_shard=0,
    resume_from=None,
    verbose=None,
    **arguments,
):
    """Judge a network with AutoAttack, slice by slice, on the machines of a Ray cluster.

    Each slice is one Ray task that calls `autoattack(..., shard=(i, shards))`; the verdicts are those of
    one run. A slice whose worker is lost is judged again, the others are not touched. An exception is
    not tried again: it ends the whole at once. More slices than fit at a time wait for their turn, so
    that many slices lose less with a worker; a new worker costs some seconds of start.

    A Ray that runs (`ray.init(...)` by the caller, `RAY_ADDRESS`, `ray start` on this machine) is used;
    otherwise one is started on this machine and ended with the evaluation. The workers need sharedkeras
    and whatever modules define the layers of the network and the attacks.

    Args:
        network: `keras.Model` from images in [0, 1] to logits; for black-box attacks a callable on
            arrays that can be pickled.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        shards: int, number of slices, at most n.
        retries: int, how often a slice is begun again after the loss of its worker. Workers that were
            stopped for lack of memory follow Ray's own setting, `RAY_task_oom_retries`.
        num_cpus_per_shard: number of cores that a slice takes, and of threads that it computes with.
        num_gpus_per_shard: number of GPUs that a slice takes; a fraction lets slices share one.
        resume_from: path of a directory, on a file system that all machines share, that keeps finished
            examples, one subdirectory for each slice; with it a lost worker costs one batch. An
            estimate, which goes in rounds, needs it on a cluster of several machines.
        verbose: bool, whether to show progress; None shows it on a terminal.
        **arguments: of `autoattack`, but for `shard`.

    Returns:
        `Report` of all examples, as `merge` makes it; its seconds are summed over the slices.

    Raises:
        ImportError: if Ray is not installed.
        TypeError, ValueError: if an argument is not what it must be, or as `autoattack` does.
        RuntimeError: if a slice has lost its worker once more than `retries` allows.
    """
    x, y = arrays(x, y)
    ray = _import_ray()
    need_count(shards=shards)
    need_count(least=0, retries=retries)
    need_positive(num_cpus_per_shard=num_cpus_per_shard)
    if "shard" in arguments:
        raise ValueError(
            "`shards` says into how many slices to cut; each task has its own `shard`. "
            f"Received: shard={arguments['shard']!r}"
        )
    # Here too, since a worker needs some seconds before it could say so.
    check_images(x)
    x, y = np.asarray(x), np.asarray(y)
    check_labels(y, size=len(x))
    if shards > len(x):
        raise ValueError(
            f"`shards` must be at most the number of examples, {len(x)}. Received: shards={shards}"
        )
    if isinstance(network, FrozenClassifier):
        network, arguments = network.network, {"select": network.select, **arguments}
    if "plan" in arguments:
        raise ValueError("The rounds of an estimate are made here. Received: plan=...")
    work = {"x": x, "y": y, "arguments": arguments, "floatx": keras.config.floatx()}
    work |= _packed(network) if isinstance(network, keras.Model) else {"network": network}
    options = {
        "num_cpus": num_cpus_per_shard,
        "num_gpus": num_gpus_per_shard,
        "max_retries": retries,
        "retry_exceptions": False,
        "runtime_env": {"env_vars": _environment(num_cpus_per_shard)},
    }
    ours = not ray.is_initialized()
    if ours:
        _start(ray)
    try:
        with _kept(resume_from, arguments, ours) as kept:
            stored, task, plan = ray.put(work), ray.remote(_judge_slice), None
            while True:
                slices = {}
                for i in range(shards):
                    journal = None if kept is None else _journal(kept, i, shards)
                    named = task.options(name=f"slice {i}/{shards}", **options)
                    slices[named.remote(stored, i, shards, journal, plan)] = i
                # Ended before the memory that the arrays of the slices lie in is given back.
                report = merge(_gather(ray, slices, retries, verbose))
                if report.plan is None:
                    return report
                plan = report
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def _kept(resume_from, arguments, ours):
    """Yield where the slices keep their work: an estimate goes on from it round by round."""
    if resume_from is not None or arguments.get("version") != VERSION:
        yield resume_from
    elif ours:  # All workers are on this machine.
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    else:
        raise ValueError(
            "An estimate goes on from the work of the round before: `resume_from` must be a directory "
            "that all machines of the cluster share. Received: resume_from=None"
        )


def _import_ray():
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "`autoattack_on_ray` needs Ray, an optional dependency: pip install sharedkeras[ray]"
        ) from error
    return ray


def _start(ray):
    with warnings.catch_warnings():
        # JAX and Python warn of forks; those of Ray become other programs at once.
        warnings.filterwarnings("ignore", message=r".*\bfork\(\)")
        ray.init(log_to_driver=False, logging_level=logging.WARNING)


def _environment(num_cpus):
    """Return what must be set in a worker before it imports Keras."""
    threads = str(math.ceil(num_cpus))
    # The last is what XLA reads on a CPU.
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
    chosen = {"KERAS_BACKEND": keras.config.backend(), **dict.fromkeys(names, threads)}
    if "JAX_ENABLE_X64" in os.environ:  # Without it JAX makes float32 of float64.
        chosen["JAX_ENABLE_X64"] = os.environ["JAX_ENABLE_X64"]
    return chosen


def _packed(network):
    """Return a network as the bytes of a `.keras` file, with the registered classes that it names."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "network.keras"
        save_network(network, path)
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json").decode()
        known = keras.saving.get_custom_objects().items()
        classes = {name: value for name, value in known if f'"{name}"' in config}
        return {"network": path.read_bytes(), "classes": classes}


def _unpacked(data, classes):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "network.keras"
        path.write_bytes(data)
        # Unsafe layers, such as a Lambda, are the caller's own, as is everything that Ray unpickles.
        return keras.saving.load_model(path, custom_objects=classes, compile=False, safe_mode=False)


def _journal(resume_from, i, m):
    return str(pathlib.Path(resume_from).absolute() / f"slice-{i}-of-{m}")


def _judge_slice(work, i, m, resume_from, plan):
    """Judge one slice; runs in a worker."""
    keras.config.set_floatx(work["floatx"])
    network = work["network"]
    if isinstance(network, bytes):
        network = _unpacked(network, work["classes"])
    return autoattack(
        network,
        work["x"],
        work["y"],
        shard=(i, m),
        resume_from=resume_from,
        plan=plan,
        verbose=False,
        **work["arguments"],
    )


def _gather(ray, slices, retries, verbose):
    """Wait for all slices; the first failure ends those at work and is raised."""
    shards, waiting, reports = len(slices), dict(slices), []
    started = time.perf_counter()
    console = Console(stderr=True)
    show = console.is_terminal if verbose is None else verbose
    # Slices may end hours apart: all of them, not those of the last seconds, tell the time remaining.
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (show and console.is_terminal),
        transient=True,
        speed_estimate_period=math.inf,
    )
    try:
        with bar:
            row = bar.add_task("slices", total=shards)
            bar.advance(row, 0)  # From here on the time remaining is reckoned.
            while waiting:
                (done,), _ = ray.wait(list(waiting))
                i = waiting.pop(done)
                reports.append(_result(ray, done, f"{i} of {shards}", retries))
                bar.advance(row)
                if show:
                    seconds = time.perf_counter() - started
                    line = f"slice {i}/{shards}"
                    print(
                        f"{line:<16} {100 * reports[-1].robust:6.2f} %  {seconds:8.1f} s",
                        file=sys.stderr,
                    )
    except BaseException:
        _cancel(ray, list(waiting))
        raise
    return reports


def _cancel(ray, waiting):
    """End slices at work, again and again: one on its way to a worker escapes Ray's first attempt."""
    until = time.monotonic() + _CANCEL_SECONDS
    while waiting and time.monotonic() < until:
        for reference in waiting:
            ray.cancel(reference, force=True)
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=1.0)


def _result(ray, reference, name, retries):
    lost = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
    )
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error  # As it was raised; the worker's traceback stands above it.
    except lost as error:
        raise RuntimeError(
            f"Slice {name} has lost its worker too often, the last time so: {error}\n"
            f"Received: retries={retries}"
        ) from error
