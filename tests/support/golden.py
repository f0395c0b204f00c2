"""The two networks on which the official PyTorch tools were run, and where their results lie."""

import os
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
EPSILON = {"M1": 0.3, "M2": 8 / 255}


def images(name, count=None):
    """Return the first images `(n, H, W, C)` float32 in [0, 1] and labels of a network's test set."""
    with np.load(GOLDEN / f"{name}_testset.npz") as archive:
        x, y = archive["x"][:count], archive["y"][:count]
    return x.astype("float32") / np.float32(255), y.astype("int32")


def clean_logits(name):
    """Return the official float32 logits of the whole test set."""
    with np.load(GOLDEN / f"{name}_testset.npz") as archive:
        return archive["logits"]


def reference(file):
    """Open a file of the complete reference data, or skip the test where it is absent."""
    root = os.environ.get("SHAREDKERAS_REFERENCE")
    if not root or not (pathlib.Path(root) / file).exists():
        pytest.skip(f"set SHAREDKERAS_REFERENCE to the directory with {file}")
    return np.load(pathlib.Path(root) / file)


def M1():
    """The MNIST CNN: four convolutions, three dense layers."""
    from sharedkeras.models import cnn

    network = cnn(name="M1")
    _fill(network, "M1", {"logits": "fc3"})
    return network


def M2():
    """The CIFAR-10 residual network with three blocks."""

    def conv(x, filters, kernel, stride, name):
        if kernel == 3:
            x = layers.ZeroPadding2D(1)(x)
        return layers.Conv2D(filters, kernel, strides=stride, use_bias=False, name=name)(x)

    def norm(x, name):
        return layers.BatchNormalization(epsilon=1e-5, name=name)(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(norm(conv(inputs, 16, 3, 1, "conv0"), "bn0"))
    for block, filters, stride in (("b1", 16, 1), ("b2", 32, 2), ("b3", 64, 2)):
        y = layers.ReLU()(norm(conv(x, filters, 3, stride, f"{block}_conv1"), f"{block}_bn1"))
        y = norm(conv(y, filters, 3, 1, f"{block}_conv2"), f"{block}_bn2")
        if stride != 1:
            x = norm(conv(x, filters, 1, stride, f"{block}_sc_conv"), f"{block}_sc_bn")
        x = layers.ReLU()(layers.Add()([y, x]))
    network = keras.Model(
        inputs, layers.Dense(10, name="fc")(layers.GlobalAveragePooling2D()(x)), name="M2"
    )
    _fill(network, "M2", {})
    return network


_PARTS = {
    layers.Conv2D: ("kernel", "bias"),
    layers.Dense: ("kernel", "bias"),
    layers.BatchNormalization: ("gamma", "beta", "moving_mean", "moving_variance"),
}


def _fill(network, name, renamed):
    with np.load(GOLDEN / f"{name}_weights.npz") as archive:
        for layer in network.layers:
            if layer.weights:
                stored = renamed.get(layer.name, layer.name)
                parts = _PARTS[type(layer)][: len(layer.weights)]
                layer.set_weights([archive[f"{stored}/{part}"] for part in parts])
