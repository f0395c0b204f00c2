"""Batches spread over the devices of a machine: the same draws, the same verdicts."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from sharedkeras import backend
from sharedkeras.evaluation.judging.devices import DevicePool
from sharedkeras.models import CallableClassifier

SCRIPT = """
import json, os, sys
count = int(sys.argv[1])
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
import keras
import numpy as np
from keras import ops
from sharedkeras import backend, evaluation
from sharedkeras.attacks import APGD, Square

keras.utils.set_random_seed(0)
inputs = keras.Input((8, 8, 1))
h = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
network = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(h) * 2.0))
x = np.random.default_rng(0).random((32, 8, 8, 1)).astype("float32")
y = ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")
common = {"norm": "linf", "epsilon": 0.06}
attacks = {
    "apgd-ce": APGD(loss="ce", steps=4, **common),
    "square": Square(queries=15, **common),
}
report = evaluation.evaluate(network, x, y, attacks, batch_size=8, seed=3, checks=False)
print(json.dumps({
    "devices": len(backend.devices()),
    "flags": {k: v.tolist() for k, v in report.flags.items()},
    "adversarial": report.adversarial.ravel().tolist(),
}))
"""


def run(count):
    environment = {
        **os.environ,
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", SCRIPT, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_four_devices_give_the_verdicts_of_one():
    one, four = run(1), run(4)
    assert (one["devices"], four["devices"]) == (1, 4)
    assert one["flags"] == four["flags"]
    for name, flags in one["flags"].items():
        assert name == "clean" or 0 < np.mean(flags) < 1, f"{name} decides nothing: {np.mean(flags)}"
    # The same batches go through the same kernels, so even the images are the same bits.
    assert one["adversarial"] == four["adversarial"]


class Several:
    """A classifier of which each device has a replica that knows its device."""

    white_box = True

    def __init__(self, device=None):
        self.device = device

    def replica(self, device):
        return Several(device)


@pytest.fixture
def three(monkeypatch):
    import contextlib

    monkeypatch.setattr(backend, "devices", lambda: ["a", "b", "c"])
    monkeypatch.setattr(backend, "on", lambda device: contextlib.nullcontext())
    return Several()


def test_all_devices_work_at_once_and_the_order_stays(three):
    together = threading.Barrier(3, timeout=20)
    seen = []

    def work(view, number):
        together.wait()  # Passes only when three calls run at the same time.
        seen.append(view.device)
        return number

    with DevicePool(three) as spread:
        assert spread.width == 3
        assert list(spread.map(work, [(i,) for i in range(9)])) == list(range(9))
    assert {name: seen.count(name) for name in "abc"} == {"a": 3, "b": 3, "c": 3}


def test_what_fails_on_a_device_reaches_the_caller(three):
    def work(view, number):
        if number == 4:
            raise ValueError("batch 4 is bad")
        return number

    with pytest.raises(ValueError, match="batch 4 is bad"), DevicePool(three) as spread:
        list(spread.map(work, [(i,) for i in range(9)]))


def test_a_plain_callable_has_one_device(three):
    with DevicePool(CallableClassifier(lambda x: x)) as spread:
        assert spread.width == 1
        caller = threading.get_ident()
        assert list(spread.map(lambda view: threading.get_ident(), [()])) == [caller]
