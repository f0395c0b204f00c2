"""A user's own network, from the command line to a judged and checked export."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
from support.applications import drive

import sharedkeras.layers  # noqa: F401  (Keras finds the stochastic layer by its name)

MODULE = """
import keras

def build(input_shape, num_classes):
    images = keras.Input(input_shape)
    options = {"alpha": 0.35, "include_top": False, "weights": None, "pooling": "avg"}
    body = keras.applications.MobileNetV2(input_shape, **options)
    x = body(keras.layers.Rescaling(2.0, offset=-1.0)(images))
    return keras.Model(images, keras.layers.Dense(num_classes)(x), name="mobile")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("objective", ["shared-information", "trades"])
def test_mobile_net_of_ones_own_is_trained_judged_and_exported(tmp_path, objective):
    """Two updates by the paper's objective, which needs its layer put in, and by TRADES."""
    (tmp_path / "my_module.py").write_text(MODULE)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 32, 32, 3), dtype="uint8"), np.arange(64) % 10
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    flags = ["--model=my_module:build", "--dataset=mine.npz", f"--objective={objective}"]
    flags += ["--epsilon=0.03", "--attack_steps=1", "--batch_size=16", "--max_steps=2", "--run_dir=run"]
    # At rate 0.1 two updates on noise leave weights that blow rounding up, and the export is refused.
    flags += ["--learning_rate=0.001", "--validation_size=0"]
    flags += ["--attacks=natural,apgd-ce", "--eval_examples=4"]
    ((code, said),) = drive("train", [flags], tmp_path, seconds=800)
    assert code == 0 and "Traceback" not in said, said
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["n"] == 4 and report["robust"] <= report["clean"]
    network = keras.saving.load_model(tmp_path / "run/last.keras")
    layers = {layer.name for layer in network.layers}
    assert ("latent" in layers) == (objective == "shared-information")
    (exported,) = (tmp_path / "run/exports").glob("*.onnx")
    session = onnxruntime.InferenceSession(str(exported))
    images = x[:4].astype("float32") / 255
    logits = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(logits, network.predict(images, verbose=0), atol=1e-3)
