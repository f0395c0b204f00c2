"""An update depends on the batch, and not on how many devices or processes share it."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from sharedkeras import data, recipes, training

jax_only = pytest.mark.skipif(keras.config.backend() != "jax", reason="needs the JAX backend")

DEVICES = """
import os
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
import keras, numpy as np
from sharedkeras import attacks, data, objectives, training
from sharedkeras.layers import GaussianStochastic

rng = np.random.default_rng(0)
x, y = rng.random((16, 8, 8, 1), dtype="float32"), rng.integers(0, 3, 16).astype("int32")
ATTACK = attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)

def network():
    images = keras.Input((8, 8, 1))
    h = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
    h = keras.layers.Flatten()(keras.layers.ReLU()(h))
    h, _, _ = GaussianStochastic(4, name="latent", seed=0)(h)
    return keras.Model(images, keras.layers.Dense(3)(h))

def run():
    keras.utils.set_random_seed(0)
    trainer = training.RobustTrainer(
        network(),
        objectives.SharedInformation(attack=ATTACK, beta=0.1, lam=1.0),
        seed=1,
        augment=data.CropAndFlip(),
        ema_decay=0.9,
        awp_gamma=0.01,
    )
    trainer.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    batches = data.Batches(x, y, 8, drop_remainder=True)
    logs = trainer.fit(batches, shuffle=False, verbose=0).history
    trainer.average.settle([x[:8]])
    return logs, [*trainer.network.get_weights(), *trainer.average.network.get_weights()]

whole = run()
for count in (1, 2, 4):
    with training.data_parallel(8, keras.distribution.list_devices()[:count]):
        logs, weights = run()
    for name in logs:
        np.testing.assert_allclose(logs[name], whole[0][name], rtol=1e-5, err_msg=f"{name} on {count}")
    worst = max(np.abs(a - b).max() for a, b in zip(weights, whole[1], strict=True))
    print("devices", count, "largest difference", worst)
    assert worst < 1e-5
print("equal")
"""


@jax_only
def test_one_two_and_four_devices_make_the_same_updates():
    """Statistics of batches, HSIC, perturbation, average and every draw are those of the whole batch."""
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, timeout=280)
    print(done.stdout)
    assert done.stdout.strip().endswith("equal"), done.stderr[-3000:]


PROCESS = """
import dataclasses, json, sys
import keras, numpy as np
port, number, count, run_dir, options = json.loads(sys.argv[1])
if count > 1:
    keras.distribution.initialize(f"localhost:{port}", count, number)
from sharedkeras import recipes, training
recipe = dataclasses.replace(
    recipes.get("quickstart").with_objective("standard"),
    model="tiny:build",
    epochs=2,
    attack_steps=1,
    step_size=0.075,
    validation_size=9800,
    validation_examples=8,
    batch_size=100,
    optimizer="sgd",
    learning_rate=0.05,
    ema_decay=0.9,
)
run = training.fit(recipe, run_dir, verbose=0, **options)
np.savez(f"{run_dir}-{count}-{number}.npz", *run.network.get_weights())
print(json.dumps([run.updates, run.history["loss"], run.history["val_robust"]]))
"""
TINY = """
import keras

def build(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(images))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Dense(8)(x)))
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))
"""


def start(root, run_dir, number=0, count=1, port=0, **options):
    options = {"distribution": "data_parallel", **options}
    given = json.dumps([port, number, count, str(root / run_dir), options])
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def outcome(process):
    said, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(said.splitlines()[-1])


def weights(root, name):
    with np.load(root / f"{name}.npz") as archive:
        return [archive[key] for key in archive]


@jax_only
@pytest.mark.slow
def test_two_processes_train_as_one_and_one_goes_on_alone(tmp_path):
    """Of cross-entropy: with TRADES, whose first gradient is nearly zero, runs agree to 4e-4 only."""
    (tmp_path / "tiny.py").write_text(TINY)
    alone = outcome(start(tmp_path, "alone"))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [start(tmp_path, "both", number, 2, port, max_steps=2) for number in (0, 1)]
    both = [outcome(process) for process in both]
    assert both[0] == both[1] and both[0][0] == 2
    np.testing.assert_allclose(both[0][1], alone[1][:1], rtol=1e-5)
    one, other = (weights(tmp_path, f"both-2-{number}") for number in (0, 1))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert {p.name for p in (tmp_path / "both").iterdir()} >= {"config.json", "last.keras", "best.keras"}
    resumed = outcome(start(tmp_path, "both", resume=True))
    assert resumed[0] == alone[0] == 4 and resumed[2] == alone[2]
    found = [weights(tmp_path, f"{name}-1-0") for name in ("alone", "both")]
    worst = max(np.abs(a - b).max() for a, b in zip(*found, strict=True))
    print("largest difference", worst)
    assert worst < 1e-5


def test_parts_of_batches_join_to_the_whole():
    x, y = np.random.default_rng(0).random((25, 2, 2, 1), "float32"), np.arange(25)
    whole = data.Batches(x, y, 8, seed=3, drop_remainder=True)
    parts = [data.Batches(x, y, 8, seed=3, drop_remainder=True, part=(i, 4)) for i in range(4)]
    assert {len(part) for part in parts} == {len(whole)} == {3}
    for position in range(3):
        images, targets = whole[position]
        found = [part[position] for part in parts]
        np.testing.assert_array_equal(np.concatenate([f[0] for f in found]), images)
        for name in targets:
            np.testing.assert_array_equal(np.concatenate([f[1][name] for f in found]), targets[name])
    for bad in ({"part": (4, 4)}, {"part": (0, 3)}, {"part": (0, 4), "drop_remainder": False}):
        with pytest.raises(ValueError, match="part="):
            data.Batches(x, y, 8, **{"drop_remainder": True, **bad})


def test_what_cannot_be_spread_is_refused(tmp_path):
    recipe = recipes.get("quickstart")
    if keras.config.backend() == "jax":
        with pytest.raises(ValueError, match=r"multiple of the devices, 3.*batch_size=128"):
            training.data_parallel(128, ["cpu:0", "cpu:1", "cpu:2"])
    else:
        with pytest.raises(ValueError, match=r"on the JAX backend only.*BatchNorm and HSIC"):
            training.fit(recipe, tmp_path / "run", distribution="data_parallel")
    with pytest.raises(ValueError, match="distribution='model_parallel'"):
        training.fit(recipe, tmp_path / "run", distribution="model_parallel")
    assert not (tmp_path / "run").exists()
