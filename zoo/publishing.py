"""Writes a run's network into the zoo, with the card that its files prove."""

import csv
import datetime
import hashlib
import json
import pathlib

from sharedkeras import data, models
from sharedkeras.evaluation import Report, weights_digest
from sharedkeras.files import write_atomically
from zoo import weights_store
from zoo.cards_index import FORMAT, ROOT
from zoo.loading import build


def publish(run_dir, name, *, root=None, dtype="float32", hardware=""):
    """Make a card and a weights file from a finished run and its report.

    Nothing is typed in: the recipe comes from `config.json`, the history from `metrics.csv`, the figures
    from `report.json`, which must be of these very weights and of the whole test set.

    Args:
        run_dir: directory of a run with `best.keras` (or `last.keras`) and `report.json`.
        name: str, the network's name in the zoo.
        root: directory of the zoo; the package's own if None.
        dtype: "float32" or "float16", how the weights are stored.
        hardware: str, what the run was made on.

    Returns:
        Path of the card.

    Raises:
        ValueError: if the report is of other weights or of part of the test set.
    """
    run_dir, root = pathlib.Path(run_dir), pathlib.Path(root or ROOT)
    config = json.loads((run_dir / "config.json").read_text())
    recipe = config["recipe"]
    report = Report.from_json(run_dir / "report.json")
    network = models.load_network(run_dir, weights=report.settings["weights"])
    if report.settings["weights_sha256"] != weights_digest(network):
        raise ValueError(f"The report is of other weights than the run's. Received: {run_dir}")
    info = data.info(recipe["dataset"])
    whole = report.settings["split_size"]
    if report.n != whole:
        raise ValueError(f"A card needs a report on all {whole:,} test images. Received: n={report.n:,}")
    latent = {layer.name: layer for layer in network.layers}.get("latent")
    description = {
        "model": recipe["model"],
        "input_shape": list(network.input_shape[1:]),
        "num_classes": network.output_shape[-1],
        "latent_dim": latent.units if latent is not None else None,
    }
    packed = weights_store.pack(network, dtype)
    weights_store.unpack(packed, build(description))
    history = _history(run_dir / "metrics.csv")
    card = {
        "format": FORMAT,
        "name": name,
        "dataset": recipe["dataset"],
        "norm": "linf",
        "epsilon": recipe["epsilon"],
        "label_names": list(info.label_names),
        "preprocessing": "float32 images in [0, 1], channels last: divide uint8 by 255; nothing else",
        "network": description,
        "parameters": sum(value.size for value in network.get_weights()),
        "weights": {
            "file": f"{name}.npz",
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
    }
    (root / "weights").mkdir(parents=True, exist_ok=True)
    write_atomically(root / "weights" / f"{name}.npz", packed)
    path = root / "cards" / recipe["dataset"] / "linf" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(card, indent=1) + "\n")
    return path


def _history(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: [float(row[k]) for row in rows] for k in rows[0]} if rows else {}
