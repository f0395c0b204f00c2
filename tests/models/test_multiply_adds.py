"""Counting what a pass costs."""

import keras
import pytest
from keras import layers

import sharedkeras
from sharedkeras.models import FrozenClassifier


def test_convolutions_and_dense_layers_are_counted():
    x = keras.Input((8, 6, 3))
    y = layers.Conv2D(4, (3, 2), strides=2, padding="same")(x)  # 4 x 3 x 4 numbers of 18 products.
    y = layers.BatchNormalization()(layers.ReLU()(y))
    y = layers.Dense(5, use_bias=False)(layers.Flatten()(y))  # 5 numbers of 48.
    network = keras.Model(x, y)
    assert FrozenClassifier(network).multiply_adds == 48 * 18 + 5 * 48
    assert FrozenClassifier(network).folded.multiply_adds == 48 * 18 + 5 * 48
    outer = keras.Input((8, 6, 3))
    nested = keras.Model(outer, layers.Dense(2)(network(outer)))
    assert FrozenClassifier(nested).multiply_adds == 48 * 18 + 5 * 48 + 2 * 5
    rows = keras.Sequential([x, layers.Dense(7)])  # On every pixel.
    assert FrozenClassifier(rows).multiply_adds == 8 * 6 * 7 * 3


def test_a_layer_that_is_called_twice_counts_twice():
    x = keras.Input((6,))
    twice = layers.Dense(6)
    assert FrozenClassifier(keras.Model(x, twice(twice(x)))).multiply_adds == 2 * 36


def test_the_networks_cost_what_is_published():
    network = sharedkeras.models.build("resnet18", input_shape=(32, 32, 3), num_classes=10)
    assert FrozenClassifier(network).multiply_adds == pytest.approx(0.56e9, rel=0.01)


def test_what_is_not_known_counts_as_nothing():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    network = Subclassed()
    network.build((None, 4))
    assert FrozenClassifier(network).multiply_adds == 0
    x = keras.Input((None, None, 3))
    y = layers.Conv2D(4, 3)(x)
    network = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    assert FrozenClassifier(network).multiply_adds == 2 * 4
