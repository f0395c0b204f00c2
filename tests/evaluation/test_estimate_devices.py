"""Estimates on four virtual devices, and on the other backend: the same points are audited."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import json, os, sys
count = int(sys.argv[1])
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
import keras
import numpy as np
from sharedkeras import backend, evaluation
from sharedkeras.attacks import APGD, FAB, Square
from sharedkeras.evaluation.suites import ensemble as versions

def cheap(norm, epsilon):
    ball = {"norm": norm, "epsilon": epsilon}
    return {
        "apgd-ce": APGD(loss="ce", steps=3, **ball),
        "apgd-t": APGD(loss="dlr-targeted", steps=3, targets=4, **ball),
        "fab-t": FAB(targeted=True, steps=3, targets=4, **ball),
        "square": Square(queries=60, **ball),
    }

versions._standard = versions._VERSIONS["standard"] = cheap
rng = np.random.default_rng(0)
layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(6)]
network = keras.Sequential([keras.Input((4, 4, 1)), *layers])
network.set_weights([rng.normal(0, 1 / np.sqrt(len(w)), w.shape) for w in network.get_weights()])
x = rng.uniform(0, 1, (200, 4, 4, 1)).astype("float32")
y = network.predict(x, verbose=0).argmax(axis=1)
y[:5] = (y[:5] + 1) % 6
report = evaluation.autoattack(
    network, x, y, epsilon=0.07, version="estimate", precision=0.05, batch_size=25, seed=3,
    verbose=False, **json.loads(sys.argv[2]),
)
last = list(report.flags)[-1]
print(json.dumps({
    "devices": len(backend.devices()),
    "sentence": report.estimate.sentence,
    "interval": [report.estimate.low, report.estimate.value, report.estimate.high],
    "judged": np.flatnonzero(np.isfinite(report.margins["square"])).tolist(),
    "flags": {k: v.tolist() for k, v in report.flags.items()},
    "margin": report.margins["apgd-ce"].tolist(),
}))
"""


def run(count, backend=None, **arguments):
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend or os.environ.get("KERAS_BACKEND", "tensorflow"),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", SCRIPT, str(count), json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def alike(one, other):
    """Compare what a reader sees and who was judged; margins differ by rounding."""
    for name in ("sentence", "interval", "judged", "flags"):
        assert one[name] == other[name], name
    assert one["margin"] == pytest.approx(other["margin"], abs=1e-4, nan_ok=True)


@pytest.fixture(scope="module")
def one():
    found = run(1)
    low, value, high = found["interval"]
    assert 0 < low <= value <= high < 1
    assert low < high  # Not everybody was judged.
    assert 10 < len(found["judged"]) < 150
    return found


def test_four_devices_judge_the_same_points(one):
    four = run(4)
    assert (one["devices"], four["devices"]) == (1, 4)
    alike(one, four)


def test_the_other_backend_judges_the_same_points(one):
    other = {"tensorflow": "jax", "jax": "tensorflow"}[os.environ.get("KERAS_BACKEND", "tensorflow")]
    alike(one, run(1, backend=other))
