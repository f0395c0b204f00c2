"""Which runs of `benchmarks.agreement` are worth making, and how long they take."""

import collections
import dataclasses
import shlex
import statistics

from benchmarks.agreement import compare
from benchmarks.agreement.jobs import SIZES, Job, load_all

_USUAL = 250
_SEEDS = (0, 1, 2)
_GRADIENT = ("apgd-ce", "apgd-dlr", "apgd-t")
_EACH = (*_GRADIENT, "square-q1000", "fab-t")
_FIRST = {"M2": 100, "M1": 50}
"""Images on which the official cascade was run."""
_START = 12
"""Seconds until a process has imported everything and read the data."""
_COMPANY = 16
"""Images of which a run in float64 consists at least: alone, a point knows no batch size."""
_SECONDS = {
    ("M1", "linf"): {
        "apgd-ce": 25,
        "apgd-dlr": 25,
        "apgd-t": 250,
        "square-q1000": 120,
        "fab-t": 400,
        "standard": 1500,
    },
    ("M2", "linf"): {
        "apgd-ce": 10,
        "apgd-dlr": 10,
        "apgd-t": 60,
        "square-q1000": 30,
        "fab-t": 100,
        "standard": 400,
    },
    ("M2", "l2"): {"apgd-ce": 10, "apgd-dlr": 10, "square-q1000": 60},
}
"""Seconds of a job on all images at the usual batch size: TensorFlow, one core, measured."""
_SLOWER_BACKEND = {"tensorflow": 1.0, "jax": 2.0, "torch": 1.0}
"""How many times that other backends take."""
_SLOWER = {1: 2.5, 7: 1.3, 64: 1.1}
"""How many times that smaller batches take."""


def lines(options, script):
    """List the shell commands of all runs, the most telling first, with their seconds.

    Args:
        options: has `reference`, `out`, `backend`, `python` and `devices`.
        script: how the benchmark is called, as words of a command.

    Returns:
        List of str, each a command or a comment.
    """
    results = load_all(options.out)
    done = {r.job.stem for r in results}
    measured = _measured(results, options.backend)
    found, total = [], 0.0
    for title, runs in _chapters(options, results):
        found.append(f"# {title}")
        for jobs in runs:
            todo = [job for job in jobs if job.stem not in done]
            if todo:
                seconds = _START + sum(_estimate(job, measured) for job in todo)
                total += seconds
                found.append(f"{_command(options, script, jobs)}  # {seconds:.0f} s")
    return [*found, f"# {total:.0f} s in all"]


def _chapters(options, results):
    """Yield titles with lists of runs, each a list of jobs that one process does."""
    backend = options.backend

    def run(network, attacks, seeds=(0,), **setting):
        return [
            Job(backend=backend, network=network, attack=attack, seed=seed, **setting)
            for attack in attacks
            for seed in seeds
        ]

    yield (
        "1b and 2: against the official tool, and between backends",
        [
            run("M2", _GRADIENT, _SEEDS),
            run("M1", _GRADIENT, _SEEDS),
            run("M2", ("square-q1000",), _SEEDS),
            run("M1", ("square-q1000",), _SEEDS),
            run("M2", ("fab-t",)),
            run("M1", ("fab-t",)),
            run("M2", ("apgd-ce", "apgd-dlr", "square-q1000"), _SEEDS, norm="l2"),
            *(run(network, ("standard",), _SEEDS, points=n) for network, n in _FIRST.items()),
        ],
    )
    settings = [
        {"batch_size": 64},
        {"batch_size": 64, "order": "shuffled"},
        {"shards": 4},
        {"batch_size": 7},
    ]
    if options.devices > 1:
        settings.insert(0, {"devices": options.devices})
    yield (
        "3: between settings",
        [run(network, _EACH, **setting) for setting in settings for network in ("M2", "M1")],
    )
    yield (
        "3: one image at a time",
        [
            run("M2", _GRADIENT, batch_size=1),
            run("M2", ("square-q1000", "fab-t"), batch_size=1),
            run("M1", _GRADIENT, batch_size=1),
            run("M1", ("square-q1000",), batch_size=1),
            run("M1", ("fab-t",), batch_size=1),
        ],
    )
    yield (
        "3: the cascade between settings",
        [
            # Slices of one size: they are then judged at one batch size too.
            run(network, ("standard",), points=n - n % setting.get("shards", 1), **setting)
            for setting in settings
            for network, n in _FIRST.items()
        ],
    )
    if backend == "tensorflow":
        yield "3: points that differ, in float64", _doubles(results, backend)
    yield (
        "Nothing is drawn in FAB-T, whatever the seed",
        [run("M2", ("fab-t",), (1, 2))],
    )


def _doubles(results, backend):
    """List the runs in float64 of the points on which settings or backends differ."""
    points = collections.defaultdict(set)
    tables = compare.tables_of(results, {}, _USUAL)
    for row in (*tables["backends"], *tables["settings"]):
        if row.get("backend", backend) == backend:
            for point in row["differ"]:
                key = point["network"], row["norm"], row["attack"], row["seed"]
                points[key].add(point["number"])
    runs = []
    for (network, norm, attack, seed), numbers in sorted(points.items()):
        if attack == "standard":
            continue
        company = [n for n in range(SIZES[network]) if n not in numbers]
        only = (*sorted(numbers), *company[: max(0, _COMPANY - len(numbers))])
        job = Job(
            backend=backend,
            network=network,
            norm=norm,
            attack=attack,
            seed=seed,
            only=tuple(sorted(only)),
            floatx="float64",
        )
        runs += [[dataclasses.replace(job, batch_size=size)] for size in (_USUAL, 7, 1)]
    return runs


def _measured(results, backend):
    """Return seconds on all images at the usual batch size, as far as they have been measured."""
    seconds = collections.defaultdict(list)
    for r in results:
        job = r.job
        known = "cpu_seconds" in r.meta  # Wall time where other work shares the core says little.
        if (
            known
            and job.backend == backend
            and job.setting == (_USUAL, "natural", 1, 1)
            and not job.only
        ):
            whole = r.meta["cpu_seconds"] * SIZES[job.network] / len(r.index)
            seconds[job.network, job.norm, job.attack].append(whole)
    return {key: statistics.median(values) for key, values in seconds.items()}


def _estimate(job, measured):
    key = job.network, job.norm, job.attack
    guess = _SECONDS.get(key[:2], {}).get(job.attack, 100) * _SLOWER_BACKEND[job.backend]
    whole = measured.get(key) or guess
    slower = _SLOWER.get(job.batch_size, 1.0)
    return whole * len(job.indices) / SIZES[job.network] * slower


def _command(options, script, jobs):
    job = jobs[0]
    words = [
        "run",
        f"--reference={options.reference}",
        f"--out={options.out}",
        f"--backend={job.backend}",
        f"--network={job.network}",
    ]
    if job.norm != "linf":
        words.append(f"--norm={job.norm}")
    words.append("--attacks=" + ",".join(dict.fromkeys(j.attack for j in jobs)))
    words.append("--seeds=" + ",".join(dict.fromkeys(str(j.seed) for j in jobs)))
    if job.only:
        words.append("--only=" + ",".join(str(n) for n in job.only))
    for field in dataclasses.fields(Job):
        value = getattr(job, field.name)
        named = field.name in ("batch_size", "order", "shards", "points", "floatx", "devices")
        if named and value != field.default:
            words.append(f"--{field.name}={value}")
    return f"{options.python} {script} {shlex.join(words)}"
