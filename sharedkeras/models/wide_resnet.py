"""Wide residual networks."""

import keras
from keras import layers

from sharedkeras.arguments import need_count, plain
from sharedkeras.models.blocks import average_pooling, batch_norm, conv, head, preact_block


def wide_resnet(
    depth=34,
    width=10,
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    latent_dim=None,
    latent_options=None,
    dropout=0.0,
    name=None,
):
    """Build a wide residual network with pre-activation blocks, WRN-34-10 by default.

    The paper's stochastic layer of 2 x 320 stands before the last dense layer.

    Args:
        depth: int, 6 n + 4 with n at least 1.
        width: int, factor on the widths 16, 32, 64.
        input_shape: tuple `(H, W, C)`.
        num_classes: int, at least 2.
        latent_dim: int, units of the stochastic layer, or None for none.
        latent_options: dict of arguments of `GaussianStochastic`.
        dropout: float in [0, 1), inside the blocks.
        name: str; by default `wrn-<depth>-<width>`.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits.

    Raises:
        ValueError: if `depth` is not 6 n + 4.

    Reference: S. Zagoruyko, N. Komodakis, "Wide residual networks", 2016.
    """
    need_count(depth=depth, width=width)
    depth, width = plain(depth), plain(width)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"`depth` must be 6 n + 4, such as 28 or 34. Received: depth={depth}")
    x = inputs = keras.Input(input_shape, name="images")
    x = conv(16, name="stem")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, (depth - 4) // 6 + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            name_ = f"stage{stage}_block{block}"
            x = preact_block(x, filters * width, strides, dropout, name=name_)
    x = layers.ReLU(name="final_relu")(batch_norm("final_bn")(x))
    x = average_pooling("features")(x)
    logits = head(x, num_classes, latent_dim, latent_options)
    return keras.Model(inputs, logits, name=name or f"wrn-{depth}-{width}")
