"""The page is whole by itself, well-formed, and nothing from outside becomes markup."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from sharedkeras.evaluation.report.charts import linear_ticks, log_ticks, training_panels
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.html import read_history, render
from sharedkeras.evaluation.report.pictures import amplification, choose, data_uri, perturbation_picture
from sharedkeras.evaluation.report.report import Report

VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = "<b onclick='x()'>\"&amp;</b>"


class Checker(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tags, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def make(n=40, channels=3, side=8, **changes):
    rng = np.random.default_rng(0)
    clean = rng.random(n) < 0.9
    a = clean & (rng.random(n) < 0.6)
    b = a & (rng.random(n) < 0.8)
    images = rng.random((n, side, side, channels), dtype="float32")
    noise = 8 / 255 * np.sign(rng.standard_normal(images.shape)).astype("float32")
    adversarial = np.where((clean & ~b)[:, None, None, None], np.clip(images + noise, 0, 1), images)
    labels = rng.integers(0, 3, n)
    arguments = {
        "flags": {"clean": clean, "apgd-ce": a, "square": b},
        "cascade": True,
        "seconds": {"apgd-ce": 1.0, "square": 1234.5},
        "settings": {
            "network": "resnet18",
            "dataset": "cifar10",
            "norm": "linf",
            "epsilon": 8 / 255,
            "version": "standard",
            "command": "python apps/evaluate.py --seed=0",
        },
        "versions": {"sharedkeras": "0.1.0"},
        "findings": [Finding("few-examples", "warning", "There are few examples.")],
        "images": images,
        "adversarial": adversarial.astype("float32"),
        "labels": labels,
        "predictions": {"clean": labels, "adversarial": (labels + 1) % 3},
        "label_names": ["cat", "dog", "ship"],
        "distance": {"apgd-ce": np.where(clean & ~a, 0.02, np.inf)},
        "history": {
            "epoch": np.arange(5),
            "loss": np.linspace(2, 1, 5),
            "ce_adv": np.linspace(1, 0.5, 5),
            "val_accuracy": np.linspace(0.5, 0.9, 5),
            "val_robust": [0.1, None, 0.2, None, 0.3],
            "learning_rate": [0.1] * 5,
        },
    }
    return Report(**{**arguments, **changes})


BARE = {"images": None, "adversarial": None, "history": None, "predictions": None, "labels": None}
VARIANTS = {
    "full": {},
    "bare": {**BARE, "settings": {}, "seconds": {}, "findings": (), "versions": {}, "distance": None},
    "independent": {"cascade": False},
    "clean only": {**BARE, "flags": {"clean": np.array([True])}, "seconds": {}, "distance": None},
    "no labels": {"labels": None, "predictions": None, "label_names": None},
    "one epoch": {"history": {"loss": [1.0], "accuracy": [0.5]}},
    "diverged": {"history": {"epoch": [0, 1], "loss": [float("nan")] * 2, "val_accuracy": [0.1, None]}},
    "empty history": {"history": {}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_page_is_well_formed_and_needs_nothing_else(tmp_path, variant):
    n = 1 if variant == "clean only" else 40
    report = make(n, **VARIANTS[variant])
    report.to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Checker(text)
    assert not re.search(r"https?:|url\(|@import|<script|\bon\w+=", text)
    for _, name, value in page.attributes:
        assert name != "src" or value.startswith("data:image/png;base64,")
        assert name != "href" or value == "data:,"
    assert "nan" not in re.sub(r'"data:[^"]*"', "", text)
    assert all(dict_alt for tag, name, dict_alt in page.attributes if (tag, name) == ("img", "alt"))
    assert sum(tag == "img" for tag in page.tags) == sum(name == "alt" for _, name, _ in page.attributes)
    assert report.verdict in page.text.lower()


def test_page_states_what_the_report_says():
    report = make(40)
    page = Checker(render(report))
    for word in (
        "resnet18 on cifar10",
        "40 examples",
        "L∞ ball of radius 8/255",
        "AutoAttack standard",
        f"{100 * report.clean:.1f}",
        f"{100 * report.robust:.1f}",
        "Doubtful",
        "One warning stands against these numbers: few-examples.",
        "There are few examples.",
        "Newly broken",
        "median distance 0.02",
        "python apps/evaluate.py --seed=0",
        "val_robust 30.0 %",
        "amplified 15 times",
        "true: cat",
    ):
        assert word in page.text, word
    assert page.tags.count("img") == 36


def test_nothing_from_outside_becomes_markup():
    clean = np.array([True, True])
    report = Report(
        flags={"clean": clean, EVIL: ~clean},
        settings={k: EVIL for k in ("network", "dataset", "norm", "epsilon", "version", "command", EVIL)}
        | {"attacks": {EVIL: {"class": EVIL, EVIL: EVIL}}},
        versions={EVIL: EVIL, "sharedkeras": EVIL},
        findings=[Finding(EVIL, "error", EVIL)],
        images=np.zeros((2, 4, 4, 1)),
        adversarial=np.ones((2, 4, 4, 1)),
        labels=np.array([0, 0]),
        predictions={"clean": np.array([0, 0]), "adversarial": np.array([0, 0])},
        label_names=[EVIL],
        history={EVIL: [1.0, 2.0], "loss": [1.0, 2.0]},
    )
    text = render(report)
    page = Checker(text)
    assert "<b " not in text
    assert not any(name == "onclick" for _, name, _ in page.attributes)
    assert f"true: {' '.join(EVIL.split())}" in page.text


def test_page_is_the_same_for_the_same_report():
    assert render(make()) == render(make())


def test_page_of_large_noise_images_stays_small():
    assert len(render(make(20, side=224))) < 2e6


def test_long_history_is_thinned():
    history = {"step": np.arange(50000), "loss": np.random.default_rng(0).random(50000)}
    assert len(render(make(**{**BARE, "history": history}))) < 1e5


def test_training_curves_come_from_the_run_directory(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,loss,val_accuracy\n0,2.5,\n1,1.25,0.75\n")
    report = make(**BARE)
    assert "1.25" in Checker(render(report, run=tmp_path)).text
    assert "How it was trained" not in render(report)
    assert read_history(tmp_path / "elsewhere") is None
    (tmp_path / "metrics.csv").write_text("epoch,loss\n")
    assert read_history(tmp_path) is None


@pytest.mark.parametrize(
    ("broken", "standing"), [(0, 5), (5, 0), (3, 40), (40, 2), (40, 40), (1, 1), (0, 0)]
)
def test_chosen_examples_mix_broken_and_standing(broken, standing):
    clean = np.array([True] * (broken + standing) + [False] * 7)
    robust = np.arange(len(clean)) >= broken
    robust &= clean
    chosen = choose(clean, robust, np.arange(len(clean)) % 4, count=12)
    assert len(chosen) == len(set(chosen)) == min(12, broken + standing)
    assert clean[chosen].all()
    if broken >= 8 and standing >= 4:
        assert robust[chosen].sum() == 4
        assert len(set(chosen[:8] % 4)) == 4  # classes take turns


@pytest.mark.parametrize("largest", [1e-3, 8 / 255, 0.1, 0.3, 1.0])
def test_amplified_perturbation_stays_on_its_scale(largest):
    factor = amplification(np.array([0.0, -largest]))
    assert factor >= 1
    assert factor == 1 or factor * largest <= 0.5 + 1e-6
    for channels in (1, 3):
        picture = perturbation_picture(np.full((2, 2, channels), -largest), factor)
        assert picture.min() >= 0 and picture.max() <= 1
    assert amplification(np.zeros(3)) == amplification(np.array([np.nan])) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_is_the_image_bit_by_bit(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype("uint8")
    data = base64.b64decode(data_uri(pixels / np.float32(255)).removeprefix("data:image/png;base64,"))
    decoded = np.asarray(Image.open(io.BytesIO(data))).reshape(pixels.shape)
    np.testing.assert_array_equal(decoded, pixels)


def test_picture_of_other_channels_is_their_mean():
    data = base64.b64decode(
        data_uri(np.full((2, 2, 2), [0.0, 1.0])).removeprefix("data:image/png;base64,")
    )
    assert np.asarray(Image.open(io.BytesIO(data))).shape == (2, 2)


@pytest.mark.parametrize("seed", range(20))
def test_ticks_span_the_range(seed):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.standard_normal(2) * 10.0 ** rng.integers(-6, 6))
    ticks = linear_ticks(low, high)
    assert ticks[0] <= low + 1e-9 * abs(low) and ticks[-1] >= high - 1e-9 * abs(high)
    assert 3 <= len(ticks) <= 8
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)
    low, high = np.exp(low / max(abs(high), abs(low)) * 9), np.exp(10)
    ticks = log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9) and len(ticks) <= 7


def test_panels_choose_their_columns_and_stay_in_their_frame():
    panels = training_panels(make().history | {"seconds": np.ones(5), "val_loss": np.ones(5)})
    assert [panel["title"] for panel in panels] == [
        "Loss and its terms", "Accuracy on validation data", "Learning rate",
    ]  # fmt: skip
    assert [s["name"] for s in panels[0]["series"]] == ["loss", "ce_adv"]
    assert [s["name"] for s in panels[1]["series"]] == ["val_accuracy", "val_robust"]
    for panel in panels:
        for series in panel["series"]:
            points = [point.split() for point in series["path"][1:].split("L")]
            for x, y in points:
                assert panel["left"] - 0.1 <= float(x) <= panel["right"] + 0.1
                assert panel["top"] - 0.1 <= float(y) <= panel["bottom"] + 0.1
