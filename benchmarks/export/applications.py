"""Exports networks of `keras.applications` and reads them back, judged before and after.

    python benchmarks/export/applications.py
    python benchmarks/export/applications.py --networks=MobileNetV2,Xception --steps=20

Random weights; the statistics of BatchNormalization come from a pass over smooth images, like those
judged, and noise, and the last layer is scaled so that logits differ between images. Labels are the
network's own predictions. A row is right if clean accuracy is whole, both files give the network's
logits to 1e-4 of the largest, and the network made of the ONNX file has the same logits, gradients (but
for kinks) and flags under APGD-CE.
"""

import pathlib
import sys
import tempfile
import time

import keras
import numpy as np
from absl import app, flags
from keras import layers, ops

import export
from sharedkeras import evaluation, losses
from sharedkeras.attacks import APGD
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.gradients import input_gradient

# What each wants of images in [0, 1]: scale and offset.
_WANTED = {
    "MobileNetV2": (2.0, -1.0),
    "MobileNetV3Small": (255.0, 0.0),
    "EfficientNetB0": (255.0, 0.0),
    "EfficientNetV2B0": (255.0, 0.0),
    "ConvNeXtTiny": (255.0, 0.0),
    "ResNet50V2": (2.0, -1.0),
    "DenseNet121": (2.0, -1.0),
    "Xception": (2.0, -1.0),
}
_SIZES = {"Xception": 71}
_LEAST_VARIANCE = 0.1  # Of a BatchNormalization's mean variance.
_CLASSES, _COUNT, _TOLERANCE = 10, 8, 1e-4
_ROW = "{:<17} {:>6} {:>5} {:>7} {:>6} {:>6} {:>11} {:>11} {:>11} {:>9} {:>5} {:>7}  {}"

_NETWORKS = flags.DEFINE_list("networks", list(_WANTED), "Names in keras.applications.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps of APGD.", lower_bound=1)


def images_of(size, count, seed):
    """Make smooth coloured images in [0, 1], `(count, size, size, 3)`."""
    coarse = np.random.default_rng(seed).random((count, 5, 5, 3)).astype("float32")
    return np.asarray(ops.clip(ops.image.resize(coarse, (size, size), "bicubic"), 0.0, 1.0))


def build(name):
    """Build a network of images in [0, 1] whose logits depend on them."""
    keras.utils.set_random_seed(0)
    size = _SIZES.get(name, 32)
    shape = (size, size, 3)
    inner = getattr(keras.applications, name)(
        weights=None, classes=_CLASSES, input_shape=shape, classifier_activation=None
    )
    images = keras.Input(shape)
    scale, offset = _WANTED[name]
    network = keras.Model(images, inner(layers.Rescaling(scale, offset)(images)), name=name.lower())
    for weight in inner.weights:
        if weight.path.endswith("layer_scale/gamma") or "layer_scale" in weight.path:
            weight.assign(ops.ones_like(weight))  # 1e-6 at first, which switches every block off.
    # With noise among them: of noise alone, on which files are compared too, activations would explode
    # behind statistics of smooth images, and roundings with them.
    noise = np.random.default_rng(3).random((64, *shape)).astype("float32")
    _take_statistics(inner, network, np.concatenate([images_of(size, 64, seed=1), noise]))
    last = next(layer for layer in reversed(inner.layers) if layer.weights)
    logits = network.predict(images_of(size, 64, seed=1), verbose=0)
    kernel, bias = last.get_weights()
    factor = 1.0 / logits.std(axis=0).mean()
    last.set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])
    return network


def _take_statistics(inner, network, x):
    norms = [layer for layer in inner.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        network(x, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        # Channels that hardly vary would be multiplied by hundreds, and so would their roundings.
        least = _LEAST_VARIANCE * ops.mean(layer.moving_variance)
        layer.moving_variance.assign(ops.maximum(layer.moving_variance, least))


def gradient(network, x, y, loss=losses.cross_entropy):
    """Return the gradient of a loss by the images."""

    def compute(view, x, y, state):
        return input_gradient(view, loss, y, x, state)[2]

    classifier = FrozenClassifier(network)
    given = (ops.convert_to_tensor(v) for v in (x, y))
    return ops.convert_to_numpy(classifier.apply("gradient", compute, *given, classifier.state))


def radius_of(network, x, y):
    """Return a radius within which, by its slope, half of the images' margins can be lost."""
    margins = ops.convert_to_numpy(losses.margin(y, network(x, training=False)))
    slopes = np.abs(gradient(network, x, y, losses.margin)).sum(axis=(1, 2, 3))
    return float(np.median(np.abs(margins) / slopes))


def judge(network, x, y, epsilon):
    """Return the report of APGD-CE."""
    attacks = {"apgd-ce": APGD(epsilon=epsilon, steps=_STEPS.value)}
    return evaluation.autoattack(network, x, y, epsilon=epsilon, version="custom", attacks=attacks)


def relative(found, wanted):
    """Return the largest difference in units of the largest number."""
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def try_one(name, directory):
    """Return the cells of a row, the last of which says whether all is right."""
    start = time.perf_counter()
    network = build(name)
    x = images_of(network.input_shape[1], _COUNT, seed=2)
    logits = network.predict(x, verbose=0)
    y = logits.argmax(axis=1)
    deviation = float(logits.std(axis=0).min())
    epsilon = radius_of(network, x, y)
    report = judge(network, x, y, epsilon)
    parity = []
    for form in ("saved_model", "onnx"):
        written = getattr(export, form)(network, directory / f"{name}.{form}", x=x)
        parity.append(written.max_logit_difference / written.largest_logit)
    again = export.from_onnx(directory / f"{name}.onnx")
    back = relative(again.predict(x, verbose=0), logits)
    # Rounding decides on which side of its kink an activation lies: to move the images by one rounding
    # changes the gradients that the network itself has of some images by 2 %, and of others by 1e-6.
    # A wrong derivative shows in all of them, so that what counts is a quarter of the images.
    pairs = zip(gradient(again, x, y), gradient(network, x, y), strict=True)
    slope = float(np.quantile([relative(*pair) for pair in pairs], 0.25))
    same = int((judge(again, x, y, epsilon).robust_flags == report.robust_flags).sum())
    clean = round(report.clean * _COUNT)
    right = (
        clean == same == _COUNT
        and deviation > 0.01
        and len(set(y)) > 1
        and max(*parity, back) <= _TOLERANCE
        and slope <= _TOLERANCE
    )
    return (
        f"{network.count_params() / 1e6:.1f}",
        f"{clean}/{_COUNT}",
        f"{255 * epsilon:.3f}",
        f"{round(report.robust * _COUNT)}/{_COUNT}",
        f"{deviation:.2f}",
        *(f"{p:.1e}" for p in (*parity, back)),
        f"{slope:.1e}",
        f"{same}/{_COUNT}",
        f"{time.perf_counter() - start:.0f}",
        "right" if right else "WRONG",
    )


def main(argv):
    """Print the table."""
    if len(argv) > 1 or set(_NETWORKS.value) - set(_WANTED):
        raise app.UsageError(f"Networks must be of {list(_WANTED)}. Received: {argv[1:]}")
    header = ("network", "M", "clean", "255 eps", "robust", "spread", "SavedModel", "ONNX", "from_onnx")
    print(_ROW.format(*header, "gradient", "flags", "seconds", ""), flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for name in _NETWORKS.value:
            cells = try_one(name, pathlib.Path(directory))
            wrong += cells[-1] != "right"
            print(_ROW.format(name, *cells), flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    app.run(main)
