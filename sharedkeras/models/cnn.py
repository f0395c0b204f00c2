"""The four-layer CNN of the MNIST experiments."""

import keras
from keras import layers

from sharedkeras.models.blocks import conv, dense, head


def cnn(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    dropout=0.0,
    name="cnn",
):
    """Build four convolutions and three dense layers, the SmallCNN of the TRADES experiments.

    Convolutions of 32, 32, 64, 64 channels, 3x3 without padding, max pooling after each pair, dense
    layers of 200, 200 and K units. The paper's stochastic layer of 2 x 128 stands before the last. Two
    things differ from TRADES: the dropout of 0.5 is off unless asked for, and the last layer does not
    start at zero, since from there the first attack would get no gradient.

    Args:
        input_shape: tuple `(H, W, C)`; H and W at least 16.
        num_classes: int, at least 2.
        latent_dim: int, units of the stochastic layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        dropout: float in [0, 1), between the first two dense layers.
        name: str.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Reference: H. Zhang et al., "Theoretically principled trade-off between robustness and accuracy",
        2019; X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022.
    """
    x = inputs = keras.Input(input_shape, name="images")
    for block, filters in ((1, 32), (2, 64)):
        for half in (1, 2):
            tag = f"conv{2 * block - 2 + half}"
            x = conv(filters, padding=0, use_bias=True, name=tag)(x)
            x = layers.ReLU(name=f"{tag}_relu")(x)
        x = layers.MaxPooling2D(2, data_format="channels_last", name=f"pool{block}")(x)
    x = layers.Flatten(data_format="channels_last", name="flatten")(x)
    x = layers.ReLU(name="fc1_relu")(dense(200, "fc1")(x))
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.ReLU(name="features")(dense(200, "fc2")(x))
    return keras.Model(inputs, head(x, num_classes, latent_dim, latent_options), name=name)
