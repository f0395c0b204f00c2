"""Measure what the average of the weights is worth, epoch by epoch.

A thin residual network is trained on 20,000 CIFAR-10 images with one attack step. After each
epoch three networks are judged by PGD-10 on the same held-out images: the raw one, and the averaged one
with BatchNorm statistics estimated on clean and on attacked training images.

    python -m benchmarks.training.averaging --output=benchmarks/results/averaging.json
"""

import json
import pathlib
import time

import keras
from absl import app, flags
from keras import layers

from sharedkeras import backend, data, models, objectives, training
from sharedkeras.attacks import PGD
from sharedkeras.evaluation import evaluate
from sharedkeras.models.blocks import batch_norm, conv, dense

flags.DEFINE_string("output", None, "File of the accuracies, JSON.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of the data.")
flags.DEFINE_list("seeds", ["0", "1"], "Seeds.")
flags.DEFINE_integer("images", 20_000, "Training images.")
flags.DEFINE_integer("held_out", 1000, "Images that the networks are judged on.")
flags.DEFINE_integer("epochs", 6, "Epochs.")
flags.DEFINE_float("decay", 0.999, "Decay of the average.")

_SETTINGS = ("seeds", "images", "held_out", "epochs", "decay")
EPSILON = 8 / 255
TRAINING = PGD(epsilon=EPSILON, step_size=1.25 * EPSILON, steps=1)
JUDGE = PGD(epsilon=EPSILON, step_size=2 / 255, steps=10)
STATISTICS_BATCHES = 16


def network(width=16):
    """Build three residual blocks of rising width."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(batch_norm("stem_bn")(conv(width, name="stem")(x)))
    for block in range(3):
        filters, strides = width * 2**block, 1 if block == 0 else 2
        y = conv(filters, strides=strides, name=f"b{block}_conv1")(x)
        y = layers.ReLU()(batch_norm(f"b{block}_bn1")(y))
        y = batch_norm(f"b{block}_bn2")(conv(filters, name=f"b{block}_conv2")(y))
        if strides != 1:
            x = conv(filters, 1, strides=strides, padding=0, name=f"b{block}_shortcut")(x)
            x = batch_norm(f"b{block}_shortcut_bn")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, dense(10, "logits")(layers.GlobalAveragePooling2D()(x)))


class Compare(keras.callbacks.Callback):
    """Judge the raw and the averaged network after each epoch."""

    def __init__(self, batches, held_out, rows):
        super().__init__()
        self.batches, self.held_out, self.rows = batches, held_out, rows

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch."""
        self.model.begin_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Judge three times and note the accuracies."""
        average = self.model.average
        chosen = [self.batches[i] for i in range(STATISTICS_BATCHES)]
        row = {"epoch": epoch + 1, "raw": self.judge(self.model.network)}
        average.settle(x for x, _ in chosen)
        row["averaged, clean statistics"] = self.judge(average.network)
        classifier = models.FrozenClassifier(average.network)
        average.settle([TRAINING(classifier, x, y["label"], seed=epoch) for x, y in chosen])
        row["averaged, attacked statistics"] = self.judge(average.network)
        self.rows.append(row)
        print(row, flush=True)

    def judge(self, model):
        """Return the accuracies of one network on the held-out images."""
        report = evaluate(
            model, self.held_out.x, self.held_out.y, {"pgd10": JUDGE}, checks=False, verbose=False
        )
        return {"natural": report.clean, "pgd10": report.robust}


def run(seed, options):
    """Train once and return a row for each epoch."""
    source = {"data_dir": options.data_dir, "validation_size": options.held_out}
    train = data.load("cifar10", "train", **source)
    held_out = data.load("cifar10", "validation", **source)
    keras.utils.set_random_seed(seed)
    n = options.images
    batches = data.Batches(train.x[:n], train.y[:n], 128, seed=seed, drop_remainder=True)
    trainer = training.RobustTrainer(
        network(),
        objectives.Standard(attack=TRAINING),
        seed=seed,
        weight_decay=5e-4,
        augment=data.CropAndFlip(),
        ema_decay=options.decay,
    )
    rate = training.OneCycle(0.1, updates=options.epochs * len(batches))
    trainer.compile(optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    rows = []
    trainer.fit(
        batches,
        epochs=options.epochs,
        callbacks=[Compare(batches, held_out, rows)],
        shuffle=False,
        verbose=0,
    )
    return rows


def main(_):
    """Train with each seed and write the accuracies."""
    options = flags.FLAGS
    began = time.perf_counter()
    runs = {seed: run(seed, options) for seed in map(int, options.seeds)}
    settings = {name: getattr(options, name) for name in _SETTINGS}
    result = {
        "settings": {**settings, "training": repr(TRAINING), "judge": repr(JUDGE)},
        "backend": backend.version(),
        "seconds": time.perf_counter() - began,
        "runs": runs,
    }
    pathlib.Path(options.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
