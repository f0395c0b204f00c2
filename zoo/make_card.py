"""Makes the card of a run from the run's own files."""

import csv
import datetime
import hashlib
import json
import math

import numpy as np
from keras import ops

from sharedkeras import data, models
from sharedkeras.data.count_test_images import count_test_images
from sharedkeras.evaluation import Report
from sharedkeras.files import parse_json, read_bytes, read_json
from zoo.card_reader import FORMAT
from zoo.evidence import check_report, check_weights
from zoo.loading import build
from zoo.packing import pack, unpack

_DTYPES = ("float32", "float16")


def make_card(run_dir, name, *, reports=(), dtype="float32", hardware="", data_dir=None):
    """Return the card of a run and its packed weights, after all checks.

    Args:
        run_dir: `pathlib.Path`, as of `publish`.
        name: str, as of `publish`.
        reports: paths of further reports, as of `publish`.
        dtype: "float32" or "float16", as of `publish`.
        hardware: str, as of `publish`.
        data_dir: directory, as of `publish`.

    Returns:
        `(card, packed)`: a dict, in which the name of the weights file is missing, and bytes.

    Raises:
        FileNotFoundError: if a file of the run is missing.
        ValueError: if a file is damaged, or the report is not the evidence.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"`dtype` must be one of {_DTYPES}. Received: dtype={dtype!r}")
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
    info = data.info(recipe["dataset"])
    judged = read_reports([where, *reports], recipe, data_dir=data_dir)
    report = judged[where]
    history = _history(run_dir / "metrics.csv")
    network = models.load_network(run_dir, weights=report.settings.get("weights", "best"))
    models.round_weights(network, dtype)
    latent = {layer.name: layer for layer in network.layers}.get("latent")
    description = {
        "model": recipe["model"],
        "input_shape": list(network.input_shape[1:]),
        "num_classes": network.output_shape[-1],
        "latent_dim": latent.units if latent is not None else None,
    }
    if recipe.get("latent_options"):
        description["latent_options"] = recipe["latent_options"]
    if (network.input_shape[1:], network.output_shape[-1]) != (info.input_shape, info.num_classes):
        raise ValueError(
            f"Expected a network of {info.name}, with images {info.input_shape} and "
            f"{info.num_classes} classes. Received: images {network.input_shape[1:]} and "
            f"{network.output_shape[-1]} classes in {run_dir}"
        )
    packed = pack(network, dtype)
    stored = build(description)
    unpack(packed, stored, where=run_dir)
    for path, of_path in judged.items():
        check_weights(of_path, stored, where=path)
    check_same_function(network, stored, run_dir)
    return {
        "format": FORMAT,
        "name": name,
        "dataset": report.settings["dataset"],
        "norm": report.settings["norm"],
        **entries(judged.values()),
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
        "citation": "X. Yu et al., Improving Adversarial Robustness by Learning Shared Information",
    }, packed


def read_reports(paths, recipe, *, data_dir=None):
    """Read the reports of a card and check that they are evidence for a recipe's network.

    Args:
        paths: of the files, the card's own report first.
        recipe: dict, the recipe in the run's `config.json` or in a card.
        data_dir: directory, as of `publish`.

    Returns:
        Dict from the path to the `Report`, in this order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is damaged, or no evidence, or they are not on the same images.
    """
    size = count_test_images(recipe["dataset"], data_dir=data_dir)
    judged = {}
    for path in paths:
        report = judged[path] = Report.from_json(path)
        check_report(report, recipe, size, where=path)
        _check_same_images(next(iter(judged.values())), report, path)
    return judged


def entries(reports):
    """Return the entries of a card that reports decide.

    Args:
        reports: of `Report`, the card's own first.

    Returns:
        Dict.
    """
    own, *further = reports
    return {
        "epsilon": own.settings["epsilon"],
        "evaluation": _evidence(own),
        "further_evaluations": [_evidence(report) for report in further],
        "created": datetime.date.today().isoformat(),
    }


def _evidence(report):
    return {
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
    }


def _check_same_images(report, other, where):
    """Refuse a second report that is on other images or in another ball than the first."""
    ball = [(r.settings["norm"], r.settings["epsilon"]) for r in (report, other)]
    if ball[0] != ball[1] or not np.array_equal(report.indices, other.indices):
        raise ValueError(
            "All reports of a card must be on the same images in the same ball: expected "
            f"n={report.n:,}, {ball[0][0]} {ball[0][1]}. Received: n={other.n:,}, {ball[1][0]} "
            f"{ball[1][1]} in {where}"
        )


def check_same_function(network, stored, run_dir):
    """Refuse a network that its recipe's architecture, with the same weights, does not compute.

    Args:
        network: `keras.Model` of the run.
        stored: `keras.Model` that the card describes, with the same weights.
        run_dir: path, for messages.

    Raises:
        ValueError: if their logits on random images differ.
    """
    x = np.random.default_rng(0).random((4, *network.input_shape[1:]), "float32")
    mine, theirs = (ops.convert_to_numpy(n(x, training=False)) for n in (network, stored))
    if not np.allclose(mine, theirs, rtol=1e-4, atol=1e-4 * np.abs(mine).max()):
        raise ValueError(
            "Expected the network of the recipe, which computes something else with the "
            f"same weights. Received: {run_dir}"
        )


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
