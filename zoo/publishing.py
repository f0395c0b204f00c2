"""Writes a run's network into the zoo, with the card that its files prove."""

import csv
import datetime
import hashlib
import json
import math
import pathlib

import numpy as np
from keras import ops

from sharedkeras import data, models
from sharedkeras.data.count_test_images import count_test_images
from sharedkeras.evaluation import Report
from sharedkeras.files import locked, parse_json, read_json, remove_litter, write_atomically
from sharedkeras.files.bounded import read_bytes
from zoo.card_reader import FORMAT, read_card
from zoo.cards_index import ROOT, card_files
from zoo.evidence import check_evidence
from zoo.loading import build
from zoo.names import check_plain
from zoo.packing import pack, unpack

_DTYPES = ("float32", "float16")


def publish(run_dir, name, *, root=None, dtype="float32", hardware="", replace=False, data_dir=None):
    """Make a card and a weights file from a finished run and its report.

    Nothing is typed in: the recipe comes from `config.json`, the history from `metrics.csv`, ball, data
    set, examples and figures from `report.json`, which must be of these very weights, in the recipe's
    ball, on each image of the recipe's test set. The card's file is written last and in one step, so
    that a failure at any time leaves what was there before.

    Args:
        run_dir: directory of a run with `best.keras` (or `last.keras`) and `report.json`.
        name: str, the network's name in the zoo.
        root: directory of the zoo; the package's own if None.
        dtype: "float32" or "float16", how the weights are stored; rounding must not change them, since
            the report is of the weights as they are loaded.
        hardware: str, what the run was made on.
        replace: bool, whether a card of that name is replaced.
        data_dir: directory of the data, read only for a data set whose size its name does not tell.

    Returns:
        Path of the card.

    Raises:
        FileExistsError: if the zoo has that name, and `replace` is False or it is of other data.
        FileNotFoundError: if a file of the run is missing.
        ValueError: if the name is no plain name, a file is damaged, or the report is not the evidence.
    """
    check_plain("name", name)
    if dtype not in _DTYPES:
        raise ValueError(f"`dtype` must be one of {_DTYPES}. Received: dtype={dtype!r}")
    run_dir, root = pathlib.Path(run_dir), pathlib.Path(root or ROOT)
    card, packed = _make(run_dir, name, dtype, hardware, data_dir)
    path = root / "cards" / card["dataset"] / card["norm"] / f"{name}.json"
    _check_free(root, path, replace)
    for directory in (root / "weights", path.parent):
        directory.mkdir(parents=True, exist_ok=True)
    with locked(root):
        _check_free(root, path, replace)
        remove_litter(root / "weights")
        remove_litter(path.parent)
        _write(card, packed, path, root / "weights")
    return path


def _make(run_dir, name, dtype, hardware, data_dir):
    """Return the card of a run and its packed weights, after all checks."""
    config_file = run_dir / "config.json"
    config = read_json(
        config_file, what="the config.json of a run", entries={"recipe": dict, "versions": dict}
    )
    recipe = config["recipe"]
    parse_json(
        json.dumps(recipe),
        where=config_file,
        what="the recipe of a run",
        entries={"dataset": str, "model": str, "epsilon": float},
    )
    where = run_dir / "report.json"
    if not where.is_file():
        raise FileNotFoundError(f"The run has no report; judge it first. Expected: {where}")
    report = Report.from_json(where)
    info = data.info(recipe["dataset"])
    network = models.load_network(run_dir, weights=report.settings.get("weights", "best"))
    latent = {layer.name: layer for layer in network.layers}.get("latent")
    description = {
        "model": recipe["model"],
        "input_shape": list(network.input_shape[1:]),
        "num_classes": network.output_shape[-1],
        "latent_dim": latent.units if latent is not None else None,
    }
    if (network.input_shape[1:], network.output_shape[-1]) != (info.input_shape, info.num_classes):
        raise ValueError(
            f"Expected a network of {info.name}, with images {info.input_shape} and "
            f"{info.num_classes} classes. Received: images {network.input_shape[1:]} and "
            f"{network.output_shape[-1]} classes in {run_dir}"
        )
    packed = pack(network, dtype)
    stored = build(description)
    unpack(packed, stored, where=run_dir)
    size = count_test_images(recipe["dataset"], data_dir=data_dir)
    check_evidence(report, stored, recipe, size, where=where)
    _check_same_function(network, stored, run_dir)
    history = _history(run_dir / "metrics.csv")
    return {
        "format": FORMAT,
        "name": name,
        "dataset": report.settings["dataset"],
        "norm": report.settings["norm"],
        "epsilon": report.settings["epsilon"],
        "label_names": list(info.label_names),
        "preprocessing": "float32 images in [0, 1], channels last: divide uint8 by 255; nothing else",
        "network": description,
        "parameters": sum(value.size for value in network.get_weights()),
        "weights": {
            "sha256": hashlib.sha256(packed).hexdigest(),
            "bytes": len(packed),
            "dtype": dtype,
        },
        "training": {
            "recipe": recipe,
            "versions": config["versions"],
            "hardware": hardware,
            "seconds": sum(history.get("seconds", [])),
            "epochs": len(history.get("epoch", [])),
            "history": history,
        },
        "evaluation": {
            "n": report.n,
            "split": report.settings["split"],
            "clean": report.clean,
            "robust": report.robust,
            "accuracy": report.accuracy,
            "seed": report.seed,
            # Without the command line, whose paths are those of one machine.
            "settings": {k: v for k, v in report.settings.items() if k != "command"},
            "versions": report.versions,
            "findings": [finding._asdict() for finding in report.findings],
            "verdict": report.verdict,
        },
        "citation": "X. Yu et al., Improving Adversarial Robustness by Learning Shared Information",
        "created": datetime.date.today().isoformat(),
    }, packed


def _check_same_function(network, stored, run_dir):
    """Refuse a network that its recipe's architecture, with the same weights, does not compute."""
    x = np.random.default_rng(0).random((4, *network.input_shape[1:]), "float32")
    mine, theirs = (ops.convert_to_numpy(n(x, training=False)) for n in (network, stored))
    if not np.allclose(mine, theirs, rtol=1e-4, atol=1e-4 * np.abs(mine).max()):
        raise ValueError(
            "Expected the network of the recipe, which computes something else with the "
            f"same weights. Received: {run_dir}"
        )


def _check_free(root, path, replace):
    others = [p for p in card_files(root) if p.stem.casefold() == path.stem.casefold()]
    if others and (others != [path] or not replace):
        how = "or replace=True" if others == [path] else "since that one is elsewhere"
        raise FileExistsError(
            f"Expected a name that the zoo does not have, {how}. "
            f"Received: name={path.stem!r}, which is {', '.join(map(str, others))}"
        )


def _write(card, packed, path, weights):
    """Write the weights beside those that are there, then the card, and only then remove the old."""
    name, sha256 = card["name"], card["weights"]["sha256"]
    file = weights / f"{name}.npz"
    if file.exists():
        file = weights / f"{name}-{sha256[:12]}.npz"
    write_atomically(file, packed)
    card["weights"] = {"file": file.name, **card["weights"]}
    old = _weights_of(path)
    try:
        write_atomically(path, json.dumps(card, indent=1, allow_nan=False) + "\n")
    except BaseException:
        if file != old:
            file.unlink(missing_ok=True)
        raise
    if old is not None and old != file:
        old.unlink(missing_ok=True)


def _weights_of(path):
    """Return the weights file of a card that is there, or None."""
    try:
        return path.parents[3] / "weights" / read_card(path)["weights"]["file"]
    except (FileNotFoundError, ValueError):
        return None


def _history(path):
    """Return the columns of a run's log as lists of numbers."""
    text = read_bytes(path, what="the metrics.csv of a run", max_bytes=2**26)
    try:
        rows = list(csv.DictReader(text.decode().splitlines(), strict=True))
        if not rows:
            raise ValueError("it has no rows")
        columns = {k: [float(row[k]) for row in rows] for k in rows[0]}
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"Expected the metrics.csv of a run, numbers in columns: {error}. Received: path={path}"
        ) from error
    infinite = [name for name, column in columns.items() if not all(map(math.isfinite, column))]
    if infinite:
        raise ValueError(f"The run diverged: {infinite} must be finite. Received: path={path}")
    return columns
