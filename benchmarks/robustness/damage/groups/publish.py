"""Runs whose report is not the evidence for their card, and names that lead elsewhere."""

import functools
import hashlib
import json
import pathlib
import tempfile

import numpy as np

import zoo
from damage.case import Case
from damage.files import damaged_json
from sharedkeras.data import subset
from sharedkeras.evaluation import Finding, Report, weights_digest
from sharedkeras.files import save_network
from zoo.publishing import publish

_SIZE = 10_000
_NAMES = (
    "",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/abs",
    ".hidden",
    "a b",
    "nul",
    "con.x",
    "x" * 101,
    "é",
    "a\0",
    "-rf",
    None,
    7,
)


@functools.cache
def _shipped():
    """Return the shipped network as the bytes of a `.keras` file, and the digest of its weights."""
    network = zoo.load("mnist-cnn-shared")
    with tempfile.TemporaryDirectory() as folder:
        save_network(network, pathlib.Path(folder) / "best.keras")
        return (pathlib.Path(folder) / "best.keras").read_bytes(), weights_digest(network)


def make_run(folder, *, settings=None, flags=None, findings=(), indices=None, recipe=None, network=None):
    """Write a run's files, as training and judging leave them, with some of it changed.

    Returns:
        Path of the run.
    """
    card = zoo.card("mnist-cnn-shared")
    folder.mkdir(parents=True)
    if network is None:
        data, digest = _shipped()
        (folder / "best.keras").write_bytes(data)
    else:
        save_network(network, folder / "best.keras")
        digest = weights_digest(network)
    recipe = {**card["training"]["recipe"], **(recipe or {})}
    (folder / "config.json").write_text(json.dumps({"recipe": recipe, "versions": {}}))
    (folder / "metrics.csv").write_text("epoch,loss\n0,1.0\n1,0.5\n")
    if flags is None:
        flags = {"clean": np.ones(_SIZE, bool), "pgd20": np.arange(_SIZE) % 4 != 0}
    told = {
        "dataset": "mnist",
        "split": "test",
        "split_size": _SIZE,
        "weights": "best",
        "weights_sha256": digest,
        "norm": "linf",
        "epsilon": 0.3,
        "attacks": {"pgd20": {"attack": "PGD", "norm": "linf", "epsilon": 0.3}},
        **(settings or {}),
    }
    told = {key: value for key, value in told.items() if value is not ...}
    report = Report(flags=flags, settings=told, findings=findings, indices=indices)
    report.to_json(folder / "report.json")
    return folder


def _drawn(n, seed=0):
    return subset(_SIZE, n, method="random", seed=seed)


def _of_some(n, way, rows):
    flags = {"clean": np.ones(n, bool), "pgd20": np.arange(n) % 4 != 0}
    return {"flags": flags, "indices": rows, "settings": {"subset": way, "subset_seed": 0}}


def _reports():
    """Yield `(name, changes of make_run)` for reports that are whole and of something else."""
    few = {"clean": np.ones(4, bool), "pgd20": np.array([True, True, True, False])}
    for value in (0.01, 0.299, 0.5, 0, -0.3, "0.3", None, True, ...):
        yield f"epsilon {value!r}", {"settings": {"epsilon": value}}
    for value in ("l2", "l1", None, ...):
        yield f"norm {value!r}", {"settings": {"norm": value}}
    for value in ("mnist-mini", "cifar10", None, ...):
        yield f"dataset {value!r}", {"settings": {"dataset": value}}
    for value in ("train", "validation", ...):
        yield f"split {value!r}", {"settings": {"split": value}}
    yield "few images", {"flags": few}
    for name, n, way, rows in (
        ("the first images", 1000, "first", np.arange(1000)),
        ("a subset of no kind", 1000, None, _drawn(1000)),
        ("fewer than 1,000 images at random", 999, "random", _drawn(999)),
        ("images that another seed draws", 1000, "random", _drawn(1000, seed=1)),
        ("the first images as if at random", 1000, "random", np.arange(1000)),
        ("a stride that is none", 1000, "stride", _drawn(1000)),
    ):
        yield name, _of_some(n, way, rows)
    yield "few images that call themselves all", {"flags": few, "settings": {"split_size": 4}}
    yield "a split of another size", {"settings": {"split_size": 60_000}}
    yield "images of another split", {"indices": np.arange(_SIZE) + 1}
    for value in ("0" * 64, None, ...):
        yield f"weights_sha256 {str(value)[:8]!r}", {"settings": {"weights_sha256": value}}
    yield "weights that are not there", {"settings": {"weights": "last"}}
    yield "weights of an unknown kind", {"settings": {"weights": "worst"}}
    yield (
        "an attack in a smaller ball",
        {"settings": {"attacks": {"pgd20": {"norm": "linf", "epsilon": 0.01}}}},
    )
    yield (
        "an attack in a ball that is no number",
        {"settings": {"attacks": {"pgd20": {"norm": "linf", "epsilon": "0.3"}}}},
    )
    yield "attacks that are a list", {"settings": {"attacks": ["pgd20"]}}
    yield "no attack", {"flags": {"clean": np.ones(_SIZE, bool)}}
    yield "numbers that are not usable", {"findings": (Finding("nan", "error", "The logits are NaN."),)}
    yield "a recipe of another network", {"recipe": {"model": "resnet18"}}
    yield "a recipe of another data set", {"recipe": {"dataset": "cifar10"}}
    yield "a recipe of an unknown data set", {"recipe": {"dataset": "mnest"}}
    yield "a recipe in another norm", {"recipe": {"attack_options": {"norm": "l2"}}}
    yield "a recipe of another ball", {"recipe": {"epsilon": 0.1}}


def cases(folder):
    """Yield publications that must be refused with the zoo as it was, and some that are right."""
    number = 0

    def case(name, named, act, is_right=lambda result: False):
        nonlocal number
        number += 1
        root = folder / f"zoo{number}"
        root.mkdir()
        return Case(name, lambda: _kept(root, act), named, is_right)

    for name, changes in _reports():
        run = make_run(folder / f"run {len(list(folder.iterdir()))}", **changes)
        yield case(name, str(run) if "unknown" not in name else "", _publisher(run))
    good = make_run(folder / "good")
    for name in _NAMES:
        yield case(f"the name {str(name)[:12]!r}", "name", _publisher(good, name))
    yield case("rounded weights", str(good), _publisher(good, dtype="float16"))
    yield case("weights of an unknown type", "dtype", _publisher(good, dtype="int8"))
    for file in ("config.json", "report.json", "metrics.csv", "best.keras"):
        run = make_run(folder / f"without {file}")
        (run / file).unlink()
        yield case(f"without {file}", str(run), _publisher(run))
        run = make_run(folder / f"half {file}")
        (run / file).write_bytes((run / file).read_bytes()[:-40])
        yield case(f"half of {file}", str(run), _publisher(run))
    for name, text in damaged_json((good / "config.json").read_bytes(), ("recipe",)):
        run = make_run(folder / f"config {name}")
        (run / "config.json").write_bytes(text)
        yield case(f"config.json with {name}", str(run), _publisher(run))
    for name, text in (
        ("NaN", "epoch,loss\n0,nan\n"),
        ("a gap", "epoch,loss\n0\n"),
        ("text", "a,b\nx,y\n"),
    ):
        run = make_run(folder / f"log {name}")
        (run / "metrics.csv").write_text(text)
        yield case(f"metrics.csv with {name}", str(run), _publisher(run))
    yield case("a good run", "", _publisher(good), _is_right)
    some = make_run(folder / "some", **_of_some(1000, "random", _drawn(1000)))
    yield case("1,000 images at random", "", _publisher(some), lambda path: _is_right(path, 1000))
    more = some / "report.json"
    yield case("a report on other images beside it", str(more), _publisher(good, reports=[more]))
    yield case("a second report", "", _publisher(good, reports=[good / "report.json"]), _is_right)
    yield case("a name that is taken", "name", lambda root: _again(good, root))
    yield case("a name that is taken but for capitals", "name", lambda root: _again(good, root, "Mine"))
    yield case("a name that is replaced", "", lambda root: _again(good, root, replace=True), _is_right)


def _publisher(run, name="mine", **options):
    return lambda root: publish(run, name, root=root, **options)


def _again(run, root, name="mine", **options):
    publish(run, "mine", root=root)
    before = _files(root)
    try:
        return publish(run, name, root=root, hardware="another", **options)
    except BaseException:
        if _files(root) != before:
            raise AssertionError("What was there before is not there any more.") from None
        for path in sorted(root.rglob("*"), reverse=True):  # So that `_kept` finds what it expects.
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _kept(root, act):
    try:
        return act(root)
    except BaseException:
        if _files(root):
            raise AssertionError(f"A refused publication left {list(_files(root))}.") from None
        raise


def _files(root):
    return {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _is_right(path, n=_SIZE):
    card = json.loads(path.read_text())
    (weights,) = (path.parents[3] / "weights").iterdir()
    told = (card["norm"], card["epsilon"], card["dataset"], card["evaluation"]["n"])
    return (
        told == ("linf", 0.3, "mnist", n)
        and card["evaluation"]["robust"] == 0.75
        and card["weights"]["file"] == weights.name
        and card["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    )
