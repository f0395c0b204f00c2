"""Adversarial examples as a file."""

import io
import json
import pathlib

import numpy as np

from sharedkeras.files import write_atomically


def save_adversarial(report, path):
    """Write the adversarial examples of one attack as an `.npz` archive, atomically.

    `numpy.load(path)` reads it; nothing in it is pickled. For n images it holds

    - `adversarial`: float32 `(n, H, W, C)` in [0, 1], the clean image where no example was found;
    - `indices`: int64 `(n,)`, the images' numbers in the data set's split;
    - `labels`, `predictions_clean`, `predictions_adversarial`: int32 `(n,)`;
    - `success`: bool `(n,)`, classified correctly without the attack and wrongly after it;
    - `distance`: float32 `(n,)`, in the attack's norm, infinite without success;
    - `settings`: JSON text with `attack` (its name), `settings`, `seed` and `versions` of the report.

    Args:
        report: `Report` of a single attack, such as `craft` returns.
        path: of the file. Missing folders are made.

    Raises:
        ValueError: if the report is of several attacks, or was read from a file and so has no images.
    """
    names = list(report.accuracy)
    if len(names) != 1:
        raise ValueError(f"The report must be of one attack. Received: attacks {names}")
    parts = ("adversarial", "labels", "predictions", "distance")
    missing = [part for part in parts if getattr(report, part) is None]
    if missing:
        raise ValueError(
            "The report must hold its examples, as it does until it is written to a file. "
            f"Received: a report without {missing}"
        )
    (name,) = names
    settings = {
        "attack": name,
        "settings": report.settings,
        "seed": report.seed,
        "versions": report.versions,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        adversarial=report.adversarial.astype("float32", copy=False),
        indices=report.indices.astype("int64"),
        labels=report.labels.astype("int32"),
        predictions_clean=report.predictions["clean"].astype("int32"),
        predictions_adversarial=report.predictions["adversarial"].astype("int32"),
        success=report.flags["clean"] & ~report.flags[name],
        distance=report.distance[name],
        settings=json.dumps(settings, ensure_ascii=False),
    )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
