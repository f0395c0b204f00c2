"""VGG-16 for small images."""

import keras
from keras import layers

from sharedkeras.models.blocks import average_pooling, batch_norm, conv, head

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    name="vgg16",
):
    """Build the VGG-16 used for CIFAR: 13 convolutions with batch normalisation, one dense layer.

    Each convolution is followed by normalisation and ReLU, each stage by max pooling; the dense layers
    of 4096 units, made for images of 224 pixels, are left out, as is usual. The paper shows its
    representation attack on the layers "conv3", "conv5" and the last dense one.

    Args:
        input_shape: tuple `(H, W, C)`.
        num_classes: int, at least 2.
        latent_dim: int, units of a stochastic layer before the last dense layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        name: str.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Reference: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
        recognition", 2015.
    """
    x = inputs = keras.Input(input_shape, name="images")
    number = 0
    for stage, (filters, count) in enumerate(_STAGES, start=1):
        for _ in range(count):
            number += 1
            x = batch_norm(f"bn{number}")(conv(filters, name=f"conv{number}")(x))
            x = layers.ReLU(name=f"relu{number}")(x)
        # Of the even sizes of CIFAR "same" pads nothing; it lets smaller images through.
        x = layers.MaxPooling2D(
            2, padding="same", data_format="channels_last", name=f"stage{stage}_pool"
        )(x)
    x = average_pooling("features")(x)
    return keras.Model(inputs, head(x, num_classes, latent_dim, latent_options), name=name)
