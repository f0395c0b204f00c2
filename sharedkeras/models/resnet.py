"""Residual networks for small images."""

import keras
from keras import layers

from sharedkeras.arguments import need_count, plain
from sharedkeras.models.blocks import average_pooling, batch_norm, conv, head

_WIDTH = 64  # Of the networks in the papers.


def _basic_block(x, filters, strides, name):
    y = conv(filters, strides=strides, name=f"{name}_conv1")(x)
    y = layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(y))
    y = batch_norm(f"{name}_bn2")(conv(filters, name=f"{name}_conv2")(y))
    if strides != 1 or x.shape[-1] != filters:
        x = conv(filters, 1, strides=strides, padding=0, name=f"{name}_shortcut")(x)
        x = batch_norm(f"{name}_shortcut_bn")(x)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([y, x]))


def _bottleneck(x, filters, strides, name):
    y = conv(filters, 1, padding=0, name=f"{name}_conv1")(x)
    y = layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(y))
    y = conv(filters, strides=strides, name=f"{name}_conv2")(y)
    y = layers.ReLU(name=f"{name}_relu2")(batch_norm(f"{name}_bn2")(y))
    y = batch_norm(f"{name}_bn3")(conv(4 * filters, 1, padding=0, name=f"{name}_conv3")(y))
    if strides != 1 or x.shape[-1] != 4 * filters:
        x = conv(4 * filters, 1, strides=strides, padding=0, name=f"{name}_shortcut")(x)
        x = batch_norm(f"{name}_shortcut_bn")(x)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([y, x]))


def _resnet(block, counts, width, input_shape, num_classes, latent_dim, latent_options, name):
    need_count(width=width)
    width = plain(width)
    x = inputs = keras.Input(input_shape, name="images")
    x = layers.ReLU(name="stem_relu")(batch_norm("stem_bn")(conv(width, name="stem")(x)))
    for stage, count in enumerate(counts, start=1):
        for number in range(1, count + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = block(x, width * 2 ** (stage - 1), strides, f"stage{stage}_block{number}")
    x = average_pooling("features")(x)
    return keras.Model(inputs, head(x, num_classes, latent_dim, latent_options), name=name)


def resnet18(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    width=_WIDTH,
    name=None,
):
    """Build the ResNet-18 used for CIFAR: 3x3 stem without max pooling, widths 64 to 512.

    The paper's stochastic layer of 2 x 256 stands before the last dense layer. A thin one costs the
    square of its width: at 32 a quarter of the multiplications.

    Args:
        input_shape: tuple `(H, W, C)`.
        num_classes: int, at least 2.
        latent_dim: int, units of the stochastic layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        width: int, channels of the stem and the first blocks; each later stage doubles them.
        name: str; by default `resnet18`, with `-w<width>` where the width is another.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Reference: K. He et al., "Deep residual learning for image recognition", 2016.
    """
    name = name or _named("resnet18", width)
    sizes = (width, input_shape, num_classes, latent_dim, latent_options, name)
    return _resnet(_basic_block, (2, 2, 2, 2), *sizes)


def resnet50(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    width=_WIDTH,
    name=None,
):
    """Build the ResNet-50 used for CIFAR, from which black-box attacks are transferred.

    Bottleneck blocks, 3x3 stem without max pooling, widths 256 to 2048 after the blocks; the stride is
    in the 3x3 convolution.

    Args:
        input_shape: tuple `(H, W, C)`.
        num_classes: int, at least 2.
        latent_dim: int, units of a stochastic layer before the last dense layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        width: int, channels of the stem and the first blocks; each later stage doubles them.
        name: str; by default `resnet50`, with `-w<width>` where the width is another.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Reference: K. He et al., "Deep residual learning for image recognition", 2016.
    """
    name = name or _named("resnet50", width)
    sizes = (width, input_shape, num_classes, latent_dim, latent_options, name)
    return _resnet(_bottleneck, (3, 4, 6, 3), *sizes)


def _named(base, width):
    return base if width == _WIDTH else f"{base}-w{width}"
