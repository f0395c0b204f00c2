"""Measures how the shared-information objective starts on a residual network, and where it ends.

A thin ResNet-18 is trained on some thousand CIFAR-10 images for a few epochs with one attack step an
update, once for each setting and seed: starting scale of the stochastic layer, weights of the terms, the
ramp of beta, warm-ups; `standard`, `gat` and `trades` beside them. A row holds the losses of the first
ten updates, natural and PGD-10 accuracy on held-out images, how much the latents can tell of the images,
and the seconds. Finished rows are kept, so that the same command goes on where it was stopped.

    python -m benchmarks.training.stability --output=benchmarks/results/stability.json
"""

import dataclasses
import json
import math
import pathlib
import time

import keras
from absl import app, flags

from sharedkeras import backend, data, recipes
from sharedkeras.attacks import PGD
from sharedkeras.evaluation import evaluate
from sharedkeras.files import read_json, write_atomically
from sharedkeras.recipes.recipe import Recipe
from sharedkeras.training import callbacks
from sharedkeras.training.collapse import WatchLatent
from sharedkeras.training.divergence import DivergedError, StopWhenDiverged, WatchLoss
from sharedkeras.training.run import prepare

flags.DEFINE_string("output", None, "File of the rows, JSON; a table goes beside it.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of the data.")
flags.DEFINE_multi_string("settings", None, "A setting, may be given again; default: all.")
flags.DEFINE_list("seeds", ["0", "1"], "Seeds.")
flags.DEFINE_integer("images", 8000, "Training images.")
flags.DEFINE_integer("held_out", 1000, "Images that the networks are judged on.")
flags.DEFINE_integer("epochs", 3, "Epochs.")
flags.DEFINE_integer("width", 16, "Width of the network.")
FLAGS = flags.FLAGS

EPSILON = 8 / 255
JUDGE = PGD(epsilon=EPSILON, step_size=2 / 255, steps=10)
_ACCURACIES = ("natural", "pgd10")
_FIRST = 10  # Updates whose losses are kept.
_WATCHED = 256  # Images whose latents are compared.


def _shared(shift=None, **options):
    return {
        "objective": "shared-information",
        "objective_options": options,
        "latent_options": {} if shift is None else {"shift": shift},
    }


# A shift of -2.25 is a scale of 0.1, of 0 one of 0.69, of 0.54 one of 1.
SETTINGS = {
    "standard": {"objective": "standard", "latent": False},
    # What 3 epochs of shared information cost: 8 forward passes an image where it has 5.
    "standard, 5 epochs": {"objective": "standard", "latent": False, "epochs": 5},
    "gat": {"objective": "gat", "latent": False, "attack": None},
    "trades": {"objective": "trades", "latent": False},
    "shared, beta 0.02": _shared(beta=0.02),
    "shared, beta 0.1": _shared(beta=0.1),
    "shared, beta 0.5": _shared(beta=0.5),
    "shared, beta 1": _shared(beta=1.0),
    "shared, beta 4": _shared(beta=4.0),
    "shared, beta 0.02, shift 0": _shared(shift=0.0, beta=0.02),
    "shared, beta 0.1, shift 0": _shared(shift=0.0, beta=0.1),
    "shared, beta 0.5, shift 0": _shared(shift=0.0, beta=0.5),
    "shared, beta 1, shift 0": _shared(shift=0.0, beta=1.0),
    "shared, beta 0.1, alpha 0.75": _shared(beta=0.1, alpha=0.75),
    "shared, beta 0.1, alpha 1": _shared(beta=0.1, alpha=1.0),
    "shared, beta 0.1, lambda 0": _shared(beta=0.1, lam=0.0),
    "shared, beta 0.1, lambda 0.1": _shared(beta=0.1, lam=0.1),
    "shared, beta 0.1, no ramp": _shared(beta=0.1),
    # What `--epochs` makes of the paper's recipes, beta 0.1 among it, and the second at equal cost.
    "shared, paper's recipe in 3 epochs": {"of": "cifar10-resnet18-shared"},
    "standard, paper's recipe in 5 epochs": {"of": "cifar10-resnet18-standard", "epochs": 5},
    **{
        f"shared, beta 0.1, cosine, warm-up {epochs}": {
            **_shared(beta=0.1),
            "schedule": "cosine",
            "schedule_options": {"warmup": epochs},
        }
        for epochs in (0, 0.2, 1.0)
    },
}
_WITHOUT_RAMP = {"shared, beta 0.1, no ramp"}


class First(keras.callbacks.Callback):
    """Keeps the losses of the first updates."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        """Keep one loss, of this batch alone."""
        if len(self.losses) < _FIRST:
            # Keras logs the mean since the epoch began.
            done = len(self.losses)
            self.losses.append(float(logs["loss"]) * (done + 1) - sum(self.losses))


def recipe(setting, seed):
    """Return the recipe of a setting."""
    common = {
        "name": "stability",
        "source": "benchmarks/training/stability.py",
        "model": f"resnet18-w{FLAGS.width}",
        "epsilon": EPSILON,
        "attack": "n-fgsm",
        "seed": seed,
    }
    options = {"epochs": FLAGS.epochs, **SETTINGS[setting]}
    if "of" in options:
        of = recipes.get(options["of"]).in_epochs(options["epochs"])
        return dataclasses.replace(of, attack_options={}, **common)
    cycle = {"schedule": "one-cycle", "schedule_options": {"rise": 0.3}}
    return Recipe(**{**common, "dataset": "cifar10", "augment": True, **cycle, **options})


def run(setting, seed, train, held_out):
    """Train once and return a row."""
    began = time.perf_counter()
    recipe_ = recipe(setting, seed)
    x, y = train.x[: FLAGS.images], train.y[: FLAGS.images]
    batches = data.Batches(x, y, recipe_.batch_size, seed=seed, drop_remainder=True)
    trainer = prepare(recipe_, steps_per_epoch=len(batches))
    if setting in _WITHOUT_RAMP:
        constant = dataclasses.replace(trainer.objective, **recipe_.objective_options)
        trainer.objective = constant
    first, told = First(), []
    watch = WatchLatent(x[:_WATCHED], trainer.objective.taps, lambda *finding: told.append(finding))
    watching = [StopWhenDiverged(x[:_WATCHED]), callbacks.EpochState(batches), first, watch]
    watching.append(WatchLoss(lambda *finding: told.append(finding)))
    row = {"setting": setting, "seed": seed, "natural": None, "pgd10": None, "terms": {}}
    try:
        row["terms"] = trainer.fit(
            batches, epochs=recipe_.epochs, callbacks=watching, shuffle=False, verbose=0
        ).history
    except DivergedError as error:
        told.append(("diverged", str(error)))
    row["seconds"] = time.perf_counter() - began
    if row["terms"]:
        report = evaluate(
            trainer.judged, held_out.x, held_out.y, {"pgd10": JUDGE}, checks=False, verbose=False
        )
        row |= {"natural": report.clean, "pgd10": report.robust}
    return {
        **row,
        "first_losses": [loss for loss in first.losses if math.isfinite(loss)],
        "findings": told,
        "recipe": dataclasses.asdict(recipe_),
        "backend": backend.version(),
    }


def runs(rows):
    """Return a line for each run."""
    head = ("setting", "seed", "first loss", "largest of ten", "natural %", "PGD-10 %", "SKL")
    lines = [(*head, "nats", "told", "seconds")]
    for row in rows:
        divergence = row["terms"].get("skl")
        lines.append(
            (
                row["setting"],
                str(row["seed"]),
                f"{row['first_losses'][0]:.2f}",
                f"{max(row['first_losses']):.2f}",
                *(_percent([row[name]]) for name in _ACCURACIES),
                f"{divergence[-1]:.2f}" if divergence else "",
                f"{row['terms']['latent_nats'][-1]:.2f}" if divergence else "",
                ", ".join(code for code, _ in row["findings"]),
                f"{row['seconds']:.0f}",
            )
        )
    return lines


def means(rows):
    """Return a line for each setting: its accuracies on average over the seeds, most robust first."""
    groups = [[row for row in rows if row["setting"] == setting] for setting in SETTINGS]
    groups = [group for group in groups if group]
    groups.sort(key=lambda group: -_mean([row["pgd10"] for row in group]))
    lines = [("setting", "seeds", "natural %", "PGD-10 %")]
    for group in groups:
        seeds = " ".join(str(row["seed"]) for row in group)
        accuracies = (_percent([row[name] for row in group]) for name in _ACCURACIES)
        lines.append((group[0]["setting"], seeds, *accuracies))
    return lines


def _mean(values):
    return -1 if None in values else sum(values) / len(values)


def _percent(values):
    return "" if None in values else f"{100 * _mean(values):.1f}"


def markdown(lines):
    """Return a table, whose head is the first line."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *rest))


def page(rows):
    """Return what is written beside the rows."""
    images = f"{FLAGS.images:,} images of CIFAR-10, ResNet-18 of width {FLAGS.width}, {FLAGS.epochs}"
    return (
        f"# How the shared-information objective starts\n\n{images} epochs, one attack step an update; "
        f"accuracies on {FLAGS.held_out:,} training images that no run saw. Written by "
        "`python -m benchmarks.training.stability`.\n\n"
        f"{markdown(means(rows))}\n\n## Each run\n\nFirst and largest loss are of the first ten "
        "updates; SKL and a bound of what the latent holds, in nats, are of the last epoch.\n\n"
        f"{markdown(runs(rows))}\n"
    )


def main(_):
    """Train what is not done yet, keep the rows after each run, and write the table of all."""
    output = pathlib.Path(FLAGS.output)
    rows = []
    if output.exists():
        rows = read_json(output, what="the rows of this benchmark", entries={"rows": list})["rows"]
    source = {"data_dir": FLAGS.data_dir, "validation_size": FLAGS.held_out}
    train = data.load("cifar10", "train", **source)
    held_out = data.load("cifar10", "validation", **source)
    done = {(row["setting"], row["seed"]) for row in rows}
    for seed in map(int, FLAGS.seeds):
        for setting in FLAGS.settings or SETTINGS:
            if (setting, seed) in done:
                continue
            rows.append(run(setting, seed, train, held_out))
            write_atomically(output, json.dumps({"rows": rows}, indent=1) + "\n")
            print(markdown(runs(rows[-1:])).splitlines()[-1], flush=True)
    rows.sort(key=lambda row: (list(SETTINGS).index(row["setting"]), row["seed"]))
    write_atomically(output.with_suffix(".md"), page(rows))


if __name__ == "__main__":
    app.run(main)
