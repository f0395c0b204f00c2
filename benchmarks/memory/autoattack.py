"""Measures the peak resident memory of AutoAttack on the 10,000 test images of MNIST.

    python -m benchmarks.memory.autoattack --network=standard
    python -m benchmarks.memory.autoattack --network=mnist-cnn-shared --targets=1 --queries=50

`standard` trains a CNN on clean images first, in a process of its own, so that training does not count;
nearly all its points fall to APGD-CE. On a robust network every attack runs; `--targets` and `--queries`
cut them to minutes.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import keras
from absl import app, flags

import zoo
from sharedkeras import data, evaluation, models
from sharedkeras.attacks import APGD, FAB, Square

flags.DEFINE_string("network", "standard", "standard, or what zoo.find takes.")
flags.DEFINE_integer("targets", 9, "Targets of APGD-T and FAB-T.")
flags.DEFINE_integer("queries", 5000, "Queries of Square.")
flags.DEFINE_float("epsilon", 0.3, "Size of the ball in Linf.")
flags.DEFINE_integer("batch_size", 250, "Images at once.")
flags.DEFINE_integer("points", 10_000, "Images.")
flags.DEFINE_integer("seed", 0, "Seed.")
flags.DEFINE_string("data_dir", None, "Directory of the data.")
flags.DEFINE_string("train", None, "Only train the standard network, into this file.")


def train(path, data_dir, seed):
    """Train the CNN on clean images, two epochs, and save it."""
    keras.utils.set_random_seed(seed)
    network = models.build("cnn", input_shape=(28, 28, 1), num_classes=10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    images = data.load("mnist", "train", data_dir=data_dir)
    network.fit(images.x, images.y, batch_size=128, epochs=2, verbose=2)
    network.save(path)


def load(options):
    """Return the network to judge."""
    if options.network != "standard":
        return zoo.find(options.network)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "standard.keras"
        command = [sys.executable, __file__, f"--train={path}", f"--seed={options.seed}"]
        command += [f"--data_dir={options.data_dir}"] if options.data_dir else []
        subprocess.run(command, check=True)
        return keras.saving.load_model(path)


def main(_):
    """Judge and print the figures as JSON."""
    options = flags.FLAGS
    if options.train:
        train(options.train, options.data_dir, options.seed)
        return
    network = load(options)
    test = data.load("mnist", "test", data_dir=options.data_dir)
    x, y = test.x[: options.points], test.y[: options.points]
    common = {"norm": "linf", "epsilon": options.epsilon}
    attacks = {
        "apgd-ce": APGD(loss="ce", **common),
        "apgd-t": APGD(loss="dlr-targeted", targets=options.targets, **common),
        "fab-t": FAB(targeted=True, targets=options.targets, **common),
        "square": Square(queries=options.queries, **common),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = evaluation.autoattack(
        network,
        x,
        y,
        version="custom",
        attacks=attacks,
        batch_size=options.batch_size,
        seed=options.seed,
        verbose=True,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "network": options.network,
        "n": report.n,
        "clean": report.clean,
        "accuracy": report.accuracy,
        "seconds": report.seconds,
        "targets": options.targets,
        "queries": options.queries,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "gb_before": before / 1e9,
        "gb_peak": peak / 1e9,
        "findings": [f"{f.severity}: {f.code}" for f in report.findings],
        "verdict": report.verdict,
        "versions": report.versions,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    app.run(main)
