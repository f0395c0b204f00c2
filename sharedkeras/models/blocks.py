"""Pieces that the networks share, with the settings of the usual PyTorch recipes.

Channels come last in all of them, whatever Keras's `image_data_format` is.
"""

from keras import initializers, layers

from sharedkeras.layers import GaussianStochastic


def conv(filters, kernel_size=3, *, strides=1, padding=1, name, use_bias=False):
    """Return a function that applies a convolution padded as PyTorch pads it.

    Keras's `padding="same"` with stride 2 pads an even size only at the bottom and right; PyTorch pads
    every side and then strides, which gives other numbers. Kernels are He normal in fan-out.

    Args:
        filters: int, output channels.
        kernel_size: int, side of the kernel.
        strides: int.
        padding: int, zeros added on every side.
        name: str, the layer's name; a padding layer is called `<name>_pad`.
        use_bias: bool.

    Returns:
        Function from `(batch, H, W, C)` to the convolved tensor.
    """
    same = padding > 0 and strides == 1 and kernel_size == 2 * padding + 1
    layer = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same" if same else "valid",
        use_bias=use_bias,
        kernel_initializer=initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        data_format="channels_last",
        name=name,
    )

    def apply(x):
        if padding and not same:
            x = layers.ZeroPadding2D(padding, data_format="channels_last", name=f"{name}_pad")(x)
        return layer(x)

    return apply


def batch_norm(name):
    """Return batch normalisation with PyTorch's settings: momentum 0.9 in Keras's sense, epsilon 1e-5.

    One difference stays: PyTorch's moving variance takes the unbiased estimate of a batch, Keras's the
    biased one, a factor of n / (n - 1) with n the pixels of the batch.
    """
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def preact_block(x, filters, strides=1, dropout=0.0, *, name):
    """Apply two convolutions, each after normalisation and ReLU, and add the input.

    Args:
        x: `(batch, H, W, C)` tensor.
        filters: int.
        strides: int.
        dropout: float in [0, 1), between the convolutions.
        name: str, with which the layers' names begin.

    Returns:
        `(batch, H / strides, W / strides, filters)` tensor.
    """
    same = x.shape[-1] == filters
    active = layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(x))
    y = conv(filters, strides=strides, name=f"{name}_conv1")(active)
    y = layers.ReLU(name=f"{name}_relu2")(batch_norm(f"{name}_bn2")(y))
    if dropout:
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    y = conv(filters, name=f"{name}_conv2")(y)
    # Where the width changes the shortcut starts after the activation, elsewhere before it.
    if not same:
        x = conv(filters, 1, strides=strides, padding=0, name=f"{name}_shortcut")(active)
    return layers.Add(name=f"{name}_add")([x, y])


def average_pooling(name):
    """Return the mean over all pixels, of images whose channels come last."""
    return layers.GlobalAveragePooling2D(data_format="channels_last", name=name)


def dense(units, name, **kwargs):
    """Return a dense layer initialised as PyTorch's weights are (its biases start at zero here)."""
    initializer = initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")
    return layers.Dense(units, kernel_initializer=initializer, name=name, **kwargs)


def head(features, num_classes, latent_dim, latent_options=None):
    """Apply the stochastic layer, if asked for, and the last dense layer.

    Args:
        features: `(batch, d)` tensor.
        num_classes: int.
        latent_dim: int or None; None leaves out the stochastic layer.
        latent_options: dict of arguments of `GaussianStochastic`, or None.

    Returns:
        `(batch, num_classes)` logits.
    """
    if latent_dim is not None:
        options = latent_options or {}
        features, _, _ = GaussianStochastic(latent_dim, name="latent", **options)(features)
    return dense(num_classes, "logits")(features)
