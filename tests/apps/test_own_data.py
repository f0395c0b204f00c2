"""Data of one's own on the command line: archives and folders, judged and trained on."""

import json

import keras
import numpy as np
import pytest
from PIL import Image
from support.applications import drive

from sharedkeras import data

N = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The same images as archives and as a folder, and a network for them."""
    root = tmp_path_factory.mktemp("own")
    images = (data.load("mnist-mini", "test").x[:N] * 255).round().astype("uint8")
    labels = data.load("mnist-mini", "test").y[:N]
    for name, y in (("flat", labels), ("column", labels[:, None])):
        np.savez(root / f"{name}.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        for split in ("train", "test"):
            folder = root / "folder" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{number:03d}.png")
    inputs = keras.Input((28, 28, 1))
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))).save(root / "n.keras")
    return root


@pytest.mark.slow
def test_one_network_on_the_same_images_however_they_are_stored(root):
    flags = ["--network=n.keras", "--attacks=fgsm,pgd3,cw", "--epsilon=0.1"]
    sources = ("flat.npz", "column.npz", "folder")
    results = drive("evaluate", [[*flags, f"--dataset={s}", f"--run_dir=of-{s}"] for s in sources], root)
    assert [code for code, _ in results] == [0, 0, 0], results
    reports = [json.loads((root / f"of-{s}" / "report.json").read_text()) for s in sources]
    for report, source in zip(reports, sources, strict=True):
        assert report["n"] == N and report["settings"]["dataset"] == source
        assert report["settings"]["epsilon"] == 0.1
    assert reports[0]["flags"] == reports[1]["flags"]
    # A folder's images come by class, so that only counts can be compared.
    assert reports[0]["accuracy"] == reports[2]["accuracy"]


MISSING = [
    (["--dataset=flat.npz"], "`epsilon` (--epsilon) must be given"),
    (["--dataset=gone.npz", "--epsilon=0.1"], "gone.npz"),
    (["--dataset=gone", "--epsilon=0.1"], "gone"),
]


def test_what_is_missing_is_said(root):
    flags = ["--network=n.keras", "--attacks=fgsm"]
    results = drive("evaluate", [[*flags, *missing] for missing, _ in MISSING], root)
    for (code, said), (_, words) in zip(results, MISSING, strict=True):
        assert code == 2 and words in said and "Traceback" not in said


@pytest.mark.slow_on_jax
def test_training_and_its_judgement(root):
    flags = ["--model=cnn", "--objective=standard", "--max_steps=1", "--batch_size=10", "--epsilon=0.1"]
    flags += ["--validation_size=0", "--attacks=pgd2", "--noexport", "--eval_examples=10"]
    results = drive("train", [[*flags, f"--dataset={s}"] for s in ("column.npz", "folder")], root)
    for (code, said), name in zip(results, ("column", "folder"), strict=True):
        assert code == 0, said
        report = json.loads((root / f"runs/{name}-cnn-standard/report.json").read_text())
        assert report["settings"]["epsilon"] == 0.1 and report["settings"]["subset"] == "random"
        assert "not in the paper" in said and "on other data" in said
