"""Networks of Keras's own layers, one for each kind of node that an export must write."""

import keras
import numpy as np
from keras import layers, ops

SHAPE = (12, 10, 3)
CLASSES = 5


def _features(x):
    return layers.Conv2D(8, 3, padding="same")(x)


def _activation(name, **options):
    layer = layers.Activation(name) if not options else getattr(layers, name)(**options)
    return lambda x: layer(_features(x))


def _after(*made):
    """Return a function that applies layers to eight channels, made anew for each network."""

    def build(x):
        x = _features(x)
        for make in made:
            x = make()(x)
        return x

    return build


def _before(make):
    return lambda x: _features(make()(x))


def _residual(x):
    x = _features(x)
    return layers.Add()([x, layers.Multiply()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)])])


def _tokens(x, size=4, width=12):
    x = layers.Conv2D(width, size, strides=size, padding="same")(x)
    return layers.Reshape((x.shape[1] * x.shape[2], width))(x)


def _attention(heads=3, **options):
    def build(x):
        x = _tokens(x)
        return layers.MultiHeadAttention(heads, 4, **options)(x, x)

    return build


def _grouped_attention(x):
    x = _tokens(x)
    return layers.GroupQueryAttention(4, 4, 2)(x, x)


def _plain_attention(kind):
    def build(x):
        x = _tokens(x)
        return kind(use_scale=True)([x, layers.Dense(12)(x)])

    return build


def vision_transformer(images, norm=layers.LayerNormalization, activation="gelu", blocks=2):
    """Patches, positions learned, attention and a network per token, as Keras's example has them."""
    x = _tokens(images)
    places = layers.Embedding(x.shape[1], 12)(ops.arange(x.shape[1]))
    x = x + places
    for _ in range(blocks):
        y = norm(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(3, 4)(y, y)
        y = layers.Dense(24, activation=activation)(norm(epsilon=1e-6)(x))
        x = x + layers.Dropout(0.1)(layers.Dense(12)(y))
    return norm(epsilon=1e-6)(x)


def _patches(x):
    x = ops.reshape(x, (-1, 3, 4, 2, 5, 3))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return layers.Dense(6)(ops.reshape(x, (-1, 6, 60)))


def _class_token(x):
    x = _tokens(x)
    token = layers.Dense(12, use_bias=True)(ops.zeros_like(x[:, :1]))
    x = layers.Concatenate(axis=1)([token, x])
    y = layers.MultiHeadAttention(2, 6)(x, x)
    return (x + y)[:, 0]


def _windows(x):
    """Cyclic shift and windows, as hierarchical transformers have them."""
    x = layers.Dense(8)(x)
    x = ops.roll(x, (-1, -2), axis=(1, 2))
    x = ops.reshape(x, (-1, 3, 4, 2, 5, 8))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 20, 8))
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = ops.transpose(ops.reshape(x, (-1, 3, 2, 4, 5, 8)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 12, 10, 8))


def _sequence(*made):
    def build(x):
        x = layers.Reshape((10, 36))(x)
        for make in made:
            x = make()(x)
        return x

    return build


def _adapted():
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(3).random((20, *SHAPE)).astype("float32"))
    return layer


def _inner(x):
    inner_input = keras.Input((12, 10, 8))
    y = layers.Conv2D(8, 3, activation="relu")(layers.Normalization(mean=0.1, variance=2.0)(inner_input))
    return keras.Model(inner_input, y, name="inner")(_features(x))


ACTIVATIONS = (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "soft_shrink",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparsemax",
    "squareplus",
    "tanh",
    "tanh_shrink",
)

NETWORKS = {
    **{f"activation {name}": _activation(name) for name in ACTIVATIONS},
    "gelu by tanh": _after(lambda: lambda x: keras.activations.gelu(x, approximate=True)),
    "prelu": _after(lambda: layers.PReLU(alpha_initializer="uniform", shared_axes=[1, 2])),
    "relu of all options": _after(lambda: layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2)),
    "normalization given": _before(
        lambda: layers.Normalization(mean=[0.49, 0.48, 0.45], variance=[0.06, 0.06, 0.07])
    ),
    "normalization of one number": _before(
        lambda: layers.Normalization(mean=0.5, variance=0.1, axis=None)
    ),
    "normalization adapted": _before(_adapted),
    "normalization inverted": _before(
        lambda: layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3], invert=True)
    ),
    "rescaling": _before(lambda: layers.Rescaling([1.0, 2.0, 3.0], offset=[-0.5, 0.0, 0.5])),
    "constant captured": _before(lambda: lambda x: x - ops.convert_to_tensor([0.4, 0.5, 0.6])),
    "network inside": _inner,
    "grouped convolution": _after(lambda: layers.Conv2D(12, 3, groups=4, padding="same")),
    "grouped, strided": _after(lambda: layers.Conv2D(12, 3, groups=2, strides=2, padding="same")),
    "grouped, dilated": _after(lambda: layers.Conv2D(12, 3, groups=2, dilation_rate=2)),
    "depthwise": _after(lambda: layers.DepthwiseConv2D(5, depth_multiplier=2, padding="same")),
    "depthwise, strided": _after(lambda: layers.DepthwiseConv2D(3, strides=2, padding="same")),
    "depthwise, dilated": _after(lambda: layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")),
    "separable": _after(lambda: layers.SeparableConv2D(6, 3, strides=2, padding="same")),
    "dilated": _after(lambda: layers.Conv2D(6, 3, dilation_rate=(2, 3), padding="same")),
    "transposed": _after(lambda: layers.Conv2DTranspose(6, 3, strides=2, padding="same")),
    "transposed, valid": _after(lambda: layers.Conv2DTranspose(6, 4, strides=3)),
    "transposed, cut": _after(lambda: layers.Conv2DTranspose(6, 4, strides=2, output_padding=1)),
    "batch normalization": _after(lambda: layers.BatchNormalization(gamma_initializer="uniform")),
    "layer normalization": _after(lambda: layers.LayerNormalization(gamma_initializer="uniform")),
    "layer normalization of images": _after(lambda: layers.LayerNormalization(axis=[1, 2, 3])),
    "rms normalization": _after(lambda: layers.RMSNormalization()),
    "group normalization": _after(lambda: layers.GroupNormalization(4)),
    "unit normalization": _after(lambda: layers.UnitNormalization()),
    "spectral normalization": _after(lambda: layers.SpectralNormalization(layers.Conv2D(4, 3))),
    "max pool": _after(lambda: layers.MaxPooling2D(3, 2, padding="same")),
    "average pool": _after(lambda: layers.AveragePooling2D(3, 2, padding="same")),
    "adaptive average pool": _after(lambda: layers.AdaptiveAveragePooling2D((5, 3))),
    "adaptive max pool": _after(lambda: layers.AdaptiveMaxPooling2D((5, 3))),
    "global max pool": _after(lambda: layers.GlobalMaxPooling2D(keepdims=True)),
    "zero padding and cropping": _after(
        lambda: layers.ZeroPadding2D(((1, 2), (3, 0))), lambda: layers.Cropping2D(((2, 0), (1, 1)))
    ),
    "reflected": _before(lambda: lambda x: ops.pad(x, ((0, 0), (2, 1), (1, 2), (0, 0)), mode="reflect")),
    "upsampling, nearest": _after(lambda: layers.UpSampling2D((2, 3))),
    "upsampling, bilinear": _after(lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "resizing, bilinear": _before(lambda: layers.Resizing(17, 15)),
    "resizing, smaller": _before(lambda: layers.Resizing(7, 6)),
    "resizing, nearest": _before(lambda: layers.Resizing(7, 23, interpolation="nearest")),
    "resizing, bicubic": _before(lambda: layers.Resizing(17, 7, interpolation="bicubic")),
    "resizing, antialiased": _before(lambda: layers.Resizing(5, 7, antialias=True)),
    "resizing, bicubic antialiased": _before(
        lambda: layers.Resizing(5, 17, interpolation="bicubic", antialias=True)
    ),
    "resizing, lanczos3": _before(lambda: layers.Resizing(5, 17, interpolation="lanczos3")),
    "resizing, lanczos5": _before(
        lambda: layers.Resizing(5, 17, interpolation="lanczos5", antialias=True)
    ),
    "resizing, cropped": _before(lambda: layers.Resizing(8, 8, crop_to_aspect_ratio=True)),
    "resizing, padded": _before(lambda: layers.Resizing(8, 8, pad_to_aspect_ratio=True)),
    "centre crop": _before(lambda: layers.CenterCrop(9, 7)),
    "augmentation, idle": _before(
        lambda: keras.Sequential(
            [layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1)]
        )
    ),
    "noise, idle": _after(
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.GaussianDropout(0.1),
        lambda: layers.SpatialDropout2D(0.1),
        lambda: layers.AlphaDropout(0.1),
        lambda: layers.ActivityRegularization(0.1),
    ),
    "residual with attention over channels": _residual,
    "merging": lambda x: layers.Concatenate()(
        [
            layers.Maximum()([_features(x), layers.Conv2D(8, 1)(x)]),
            layers.Minimum()([layers.Conv2D(8, 1)(x), layers.Conv2D(8, 3, padding="same")(x)]),
            layers.Average()([layers.Conv2D(8, 1)(x), layers.Conv2D(8, 3, padding="same")(x)]),
            layers.Subtract()([layers.Conv2D(8, 1)(x), layers.Conv2D(8, 1)(x)]),
        ]
    ),
    "dot product": lambda x: layers.Dot(axes=(2, 2), normalize=True)([_tokens(x), _tokens(x)]),
    "permuted": _after(lambda: layers.Permute((3, 1, 2)), lambda: layers.Dense(7)),
    "repeated": _after(layers.GlobalAveragePooling2D, lambda: layers.RepeatVector(3)),
    "einsum dense": _after(lambda: layers.EinsumDense("bhwc,hcd->bwd", (10, 4), bias_axes="d")),
    "convolution of a sequence": _sequence(
        lambda: layers.Conv1D(8, 3, strides=2, padding="same", activation="relu"),
        lambda: layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
        lambda: layers.MaxPooling1D(2),
    ),
    "more of a sequence": _sequence(
        lambda: layers.SeparableConv1D(8, 3),
        lambda: layers.DepthwiseConv1D(3, padding="same"),
        lambda: layers.ZeroPadding1D(2),
        lambda: layers.UpSampling1D(2),
        lambda: layers.AveragePooling1D(3),
        layers.GlobalMaxPooling1D,
    ),
    "volume": lambda x: layers.Conv3D(4, 2)(layers.Reshape((12, 10, 3, 1))(x)),
    "gated": _after(lambda: keras.activations.glu),
    "attention": _attention(),
    "attention without biases": _attention(use_bias=False, value_dim=5, output_shape=9),
    "attention over images": lambda x: (
        lambda y: layers.MultiHeadAttention(2, 4, attention_axes=(1, 2))(y, y)
    )(layers.Conv2D(8, 4, strides=4)(x)),
    "attention, causal": lambda x: (
        lambda y: layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)
    )(_tokens(x)),
    "attention by groups": _grouped_attention,
    "attention, dot product": _plain_attention(layers.Attention),
    "attention, additive": _plain_attention(layers.AdditiveAttention),
    "vision transformer": vision_transformer,
    "vision transformer, rms": lambda x: vision_transformer(x, layers.RMSNormalization, "silu"),
    "patches by reshaping": _patches,
    "class token": _class_token,
    "windows": _windows,
    "operations": lambda x: (
        ops.where(x > 0.5, ops.sin(3 * x), ops.square(x))[:, ::2, 1:]
        * ops.rsqrt(1 + ops.abs(ops.cos(5 * x)))[:, ::2, 1:]
    ),
    "more operations": lambda x: (
        ops.log1p(x)
        + ops.expm1(x)
        + ops.logaddexp(x, 1 - x)
        + ops.sum(ops.power(x + 0.1, 1.7), axis=-1, keepdims=True)
        + ops.std(x, axis=-1, keepdims=True)
        + ops.max(x, axis=(1, 2), keepdims=True)
        + ops.floor(4 * x) / 8
        + ops.flip(x, axis=1)
        + ops.logsumexp(x, axis=-1, keepdims=True)
    ),
    "stacked": lambda x: ops.mean(
        ops.stack([x, ops.split(2 * x, 1, axis=1)[0], -x * x], axis=1), axis=-1
    ),
    "norm": lambda x: x / (ops.norm(x, axis=-1, keepdims=True) + 0.1),
    "several of one layer": lambda x: (lambda layer, y: layer(layer(y)))(
        layers.Conv2D(8, 3, padding="same", activation="tanh"), _features(x)
    ),
    "lstm": _sequence(lambda: layers.LSTM(6)),
    "gru": _sequence(lambda: layers.GRU(6)),
}


def _group(name):
    for group, beginnings in _BEGINNINGS.items():
        if name.startswith(beginnings):
            return group
    return "others"


_BEGINNINGS = {
    "activations": ("activation", "gelu", "prelu", "relu", "gated"),
    "normalisation": (
        "normalization",
        "rescaling",
        "constant",
        "network inside",
        "batch",
        "layer",
        "rms",
    ),
    "further normalisation": ("group normalization", "unit", "spectral", "norm", "several"),
    "convolutions": ("grouped", "depthwise", "separable", "dilated", "transposed", "volume"),
    "pools": ("max", "average", "adaptive", "global", "zero", "reflected", "centre", "augm", "noise"),
    "resizing": ("resizing", "upsampling"),
    "attention": ("attention",),
    "transformers": ("vision", "class token", "windows", "patches"),
    "sequences": ("convolution of", "more of", "lstm", "gru", "repeated"),
}
GROUPS = {}
for _name in NETWORKS:
    GROUPS.setdefault(_group(_name), []).append(_name)


def network_of(*kinds):
    """Build a network of one or several kinds side by side, with logits that depend on the image."""
    keras.utils.set_random_seed(7)
    images = keras.Input(SHAPE)
    parts = []
    for kind in kinds:
        x = NETWORKS[kind](images)
        x = layers.Flatten()(x) if len(x.shape) > 2 else x
        # Each as strong as the others, so that the logits tell when one is wrong.
        parts.append(layers.Dense(CLASSES)(x))
    return keras.Model(images, layers.Add()(parts) if len(parts) > 1 else parts[0], name="network")


def sample(n=6):
    """Return images in [0, 1]."""
    return np.random.default_rng(1).random((n, *SHAPE)).astype("float32")
