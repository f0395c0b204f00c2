"""Times training steps of the objectives against a plain PyTorch loop on the same CPU, in turns.

    pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
    python -m benchmarks.speed.steps --network=cnn
    python -m benchmarks.speed.steps --network=resnet18

PyTorch trains a copy of the same network in the channels-last layout: PGD in inference mode,
cross-entropy on what it found, SGD with momentum. Ours is `RobustTrainer.fit` as a user calls it:
reading the batches, the checks, the logged terms and whatever Keras does are part of the time. Each
round times every contender once; what is compared is the ratio within a round.
"""

import json
import statistics
import sys
import time

import keras
import numpy as np
import torch
from absl import app, flags

import sharedkeras
from benchmarks.torch_twin import to_torch
from sharedkeras import backend, data, models, objectives, training
from sharedkeras.attacks import PGD

flags.DEFINE_enum("network", "cnn", ["cnn", "resnet18"], "Network.")
flags.DEFINE_integer("width", 64, "Width of the residual network.")
flags.DEFINE_integer("rounds", 3, "How often all take turns.", lower_bound=1)
flags.DEFINE_integer("updates", 3, "Timed updates of each turn.", lower_bound=1)
flags.DEFINE_list("objectives", ["standard", "trades", "mart", "shared-information"], "Objectives.")
flags.DEFINE_integer("threads", 0, "PyTorch's threads; 0: its default.")
FLAGS = flags.FLAGS

_LATENT = 128
_SETTINGS = {
    "cnn": {"shape": (28, 28, 1), "batch": 128, "epsilon": 0.3, "step_size": 0.075, "steps": 7},
    "resnet18": {
        "shape": (32, 32, 3),
        "batch": 64,
        "epsilon": 8 / 255,
        "step_size": 2 / 255,
        "steps": 10,
    },
}


def build(settings, latent):
    """Build the network; the shared-information objective needs a latent layer."""
    name = FLAGS.network if FLAGS.network == "cnn" else f"resnet18-w{FLAGS.width}"
    options = {"latent_dim": _LATENT} if latent else {}
    return models.build(name, input_shape=settings["shape"], num_classes=10, **options)


class Ours:
    """One objective, trained by `fit`."""

    def __init__(self, name, settings, x, y):
        attack = PGD(**{key: settings[key] for key in ("epsilon", "step_size", "steps")})
        latent = name == "shared-information"
        objective = objectives.get(name)(attack=attack)
        self.trainer = training.RobustTrainer(build(settings, latent), objective, seed=0)
        self.trainer.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
        self.batches = data.Batches(x, y, settings["batch"], drop_remainder=True)

    def step(self):
        """Return the seconds of an update of one epoch."""
        began = time.perf_counter()
        self.trainer.fit(self.batches, epochs=1, shuffle=False, verbose=0)
        return (time.perf_counter() - began) / len(self.batches)


class Plain:
    """Adversarial training as a PyTorch user writes it."""

    def __init__(self, settings, x, y):
        self.settings = settings
        self.network = to_torch(build(settings, False)).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        images = torch.from_numpy(np.moveaxis(x, 3, 1).copy()).to(memory_format=torch.channels_last)
        dataset = torch.utils.data.TensorDataset(images, torch.from_numpy(y.astype("int64")))
        self.loader = torch.utils.data.DataLoader(
            dataset, batch_size=settings["batch"], shuffle=True, drop_last=True
        )

    def attack(self, x, y):
        """Craft the images of a batch."""
        epsilon, size = self.settings["epsilon"], self.settings["step_size"]
        self.network.eval()
        adv = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
        for _ in range(self.settings["steps"]):
            adv.requires_grad_()
            loss = torch.nn.functional.cross_entropy(self.network(adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adv)
            adv = adv.detach() + size * gradient.sign()
            adv = torch.minimum(torch.maximum(adv, x - epsilon), x + epsilon).clamp(0, 1)
        return adv

    def step(self):
        """Return the seconds of an update of one epoch."""
        began = time.perf_counter()
        for x, y in self.loader:
            x = x.contiguous(memory_format=torch.channels_last)
            adv = self.attack(x, y)
            self.network.train()
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.network(adv), y).backward()
            self.optimizer.step()
        return (time.perf_counter() - began) / len(self.loader)


def pipeline_seconds(batches):
    """Return the seconds it takes to make a batch."""
    began = time.perf_counter()
    for i in range(len(batches)):
        batches[i]
    return (time.perf_counter() - began) / len(batches)


def main(_):
    """Time all in turns and print the figures as JSON."""
    if FLAGS.threads:
        torch.set_num_threads(FLAGS.threads)
    settings = _SETTINGS[FLAGS.network]
    count = FLAGS.updates * settings["batch"]
    rng = np.random.default_rng(0)
    x = rng.random((count, *settings["shape"]), dtype="float32")
    y = rng.integers(0, 10, count).astype("int32")
    contenders = {"pytorch": Plain(settings, x, y)}
    contenders |= {name: Ours(name, settings, x, y) for name in FLAGS.objectives}
    for contender in contenders.values():
        contender.step()  # Compiles.
    seconds = {name: [] for name in contenders}
    for _ in range(FLAGS.rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender.step())
            print(name, f"{seconds[name][-1]:.3f} s a step", file=sys.stderr, flush=True)
    step = {name: statistics.median(each) for name, each in seconds.items()}

    def ratio(name, base):
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))

    ours = [name for name in FLAGS.objectives if name != "standard"]
    large = data.Batches(np.tile(x, (20, 1, 1, 1)), np.tile(y, 20), settings["batch"])
    pipeline = pipeline_seconds(large)
    found = {
        "network": FLAGS.network,
        "settings": settings,
        "rounds": FLAGS.rounds,
        "seconds": step,
        "of_pytorch": {name: ratio(name, "pytorch") for name in FLAGS.objectives},
        "pipeline_seconds": pipeline,
        "versions": {
            "sharedkeras": sharedkeras.__version__,
            "backend": backend.version(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
        },
    }
    if "standard" in FLAGS.objectives:
        found["of_standard"] = {name: ratio(name, "standard") for name in ours}
        found["steps_of_pipeline"] = step["standard"] / pipeline
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    app.run(main)
