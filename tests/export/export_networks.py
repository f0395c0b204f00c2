"""Networks for the export tests; a module of its own, so that a subprocess can import its layer."""

import keras
import numpy as np
from keras import layers

from sharedkeras.layers import GaussianStochastic

SHAPE = (8, 8, 3)
CLASSES = ("cat", "dog", "frog")


@keras.saving.register_keras_serializable(package="export_tests")
class Doubled(layers.Layer):
    def call(self, x):
        return 2.0 * x


def conv_network(sample_at_inference=False, softmax=False, units=64):
    """Strided convolution, BatchNorm with statistics that matter, own layer, latent layer."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(SHAPE, name="pictures")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    norm = layers.BatchNormalization(name="norm")
    x = layers.ReLU(name="relu")(norm(x))
    x = Doubled(name="doubled")(layers.Flatten(name="flatten")(x))
    x = layers.Dropout(0.5, name="dropout")(layers.Dense(units, name="dense")(x))
    x, _, _ = GaussianStochastic(8, name="latent", sample_at_inference=sample_at_inference)(x)
    x = layers.Dense(3, name="logits", activation="softmax" if softmax else None)(x)
    network = keras.Model(inputs, x, name="tiny")
    rng = np.random.default_rng(1)
    norm.set_weights([rng.uniform(0.2, 2.0, w.shape) for w in norm.weights])
    return network


def images(n, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random((n, *shape), dtype="float32")


def keras_logits(network, x):
    return keras.ops.convert_to_numpy(network(x, training=False))
