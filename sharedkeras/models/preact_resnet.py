"""Residual networks whose blocks normalise and activate first."""

import keras
from keras import layers

from sharedkeras.models.blocks import average_pooling, batch_norm, conv, head, preact_block


def preact_resnet18(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    name="preact-resnet18",
):
    """Build the PreAct-ResNet-18 used for CIFAR in work on fast adversarial training.

    Widths and depth are those of `resnet18`; normalisation and ReLU come before each convolution and
    once more at the end.

    Args:
        input_shape: tuple `(H, W, C)`.
        num_classes: int, at least 2.
        latent_dim: int, units of a stochastic layer before the last dense layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        name: str.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Reference: K. He et al., "Identity mappings in deep residual networks", 2016.
    """
    x = inputs = keras.Input(input_shape, name="images")
    x = conv(64, name="stem")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in (1, 2):
            strides = 2 if stage > 1 and block == 1 else 1
            x = preact_block(x, filters, strides, name=f"stage{stage}_block{block}")
    x = layers.ReLU(name="final_relu")(batch_norm("final_bn")(x))
    x = average_pooling("features")(x)
    return keras.Model(inputs, head(x, num_classes, latent_dim, latent_options), name=name)
