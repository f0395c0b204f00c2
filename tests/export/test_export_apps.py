import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import export
from export.image_file import read_image
from sharedkeras.models import build

# Keras 3.15 saves with NumPy 2 in a way that NumPy warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
APPS = pathlib.Path(export.__file__).parents[1] / "apps"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run directory with an exported ONNX file, made as apps/train.py makes it."""
    path = tmp_path_factory.mktemp("run")
    network = build("cnn", input_shape=(28, 28, 1), num_classes=10, latent_dim=4)
    network.save(path / "best.keras")
    (path / "config.json").write_text(json.dumps({"dataset": "mnist-mini"}))
    return path


@pytest.fixture(scope="module")
def reports(run_dir):
    sys.path.insert(0, str(APPS))
    try:
        import export_model
    finally:
        sys.path.remove(str(APPS))
    return export_model.export_network(run_dir, formats=["onnx"])


def predict(*args):
    command = [sys.executable, APPS / "predict.py", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_of_a_run(run_dir, reports):
    (report,) = reports
    assert report.path == str(run_dir / "exports" / "cnn.onnx")
    assert report.passed and report.n == report.argmax_equal == 1000
    assert export.load_onnx(report.path).class_names == tuple("0123456789")


def test_flags_do_not_clash_with_those_of_training():
    code = "import train, export_model"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=APPS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_predict(reports, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "colour.png")
    done = predict(f"--network={reports[0].path}", tmp_path / "grey.png", tmp_path / "colour.png")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    expected = export.load_onnx(reports[0].path).predict(
        pixels[None, :, :, None].astype("float32") / 255
    )[0]
    for line, name in zip(lines, ("grey.png", "colour.png"), strict=True):
        assert line[0] == str(tmp_path / name)
        assert line[1] == expected[0]
        np.testing.assert_allclose(float(line[2]), expected[1], atol=1e-3)


def test_predict_says_what_is_wrong(reports, tmp_path):
    Image.new("L", (20, 28)).save(tmp_path / "narrow.png")
    done = predict(f"--network={reports[0].path}", tmp_path / "narrow.png")
    assert done.returncode != 0
    assert "takes images of 28 x 28 pixels" in done.stderr and "Traceback" not in done.stderr
    done = predict("--network=/nowhere.onnx", tmp_path / "narrow.png")
    assert done.returncode != 0 and "no such ONNX file" in done.stderr


def test_read_image(tmp_path):
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", (4, 5, 3))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, pixels.astype("float32") / np.float32(255))
    assert read_image(tmp_path / "a.png", (4, 5, 1)).shape == (4, 5, 1)
    with pytest.raises(ValueError, match=r"4 x 5 pixels.*5 x 4"):
        read_image(tmp_path / "a.png", (5, 4, 3))
    with pytest.raises(ValueError, match="neither grey nor RGB"):
        read_image(tmp_path / "a.png", (4, 5, 2))
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="8 bits per channel"):
        read_image(tmp_path / "deep.png", (4, 5, 1))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="no image of the formats"):
        read_image(tmp_path / "text.png", (4, 5, 1))
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "gone.png", (4, 5, 1))
