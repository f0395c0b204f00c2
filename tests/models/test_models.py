"""Networks: parameters counted by hand, names, shapes, and the frozen view."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import models
from sharedkeras.models import FrozenClassifier


class Noise(keras.layers.Layer):
    """Gives noise, also outside training."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return keras.random.normal(ops.shape(x), seed=self.seed_generator)


def numpy(x):
    return ops.convert_to_numpy(x)


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def conv(k, i, o, bias=False):
    return k * k * i * o + (o if bias else 0)


def dense(i, o):
    return i * o + o


def head(features, latent, classes):
    if latent is None:
        return dense(features, classes)
    return dense(features, 2 * latent) + dense(latent, classes)


def count_cnn(latent, classes):
    convs = conv(3, 1, 32, True) + conv(3, 32, 32, True) + conv(3, 32, 64, True) + conv(3, 64, 64, True)
    return convs + dense(4 * 4 * 64, 200) + dense(200, 200) + head(200, latent, classes)


def count_resnet18(latent, classes, width=64):
    total = conv(3, 3, width) + 2 * width
    for stage in (width, 2 * width, 4 * width, 8 * width):
        for block in range(2):
            first = width if block == 0 else stage
            total += conv(3, first, stage) + conv(3, stage, stage) + 4 * stage
            if first != stage:
                total += conv(1, first, stage) + 2 * stage
        width = stage
    return total + head(width, latent, classes)


def test_thin_resnet18():
    shape = {"input_shape": (32, 32, 3), "num_classes": 100}
    for name, latent in (("resnet18-w24", None), ("resnet18-w24", models.latent_dim_of("resnet18"))):
        network = models.build(name, **shape, latent_dim=latent)
        assert trainable(network) == count_resnet18(latent, 100, width=24)
        assert network.name == name
    assert models.build("resnet18-w64", **shape).name == models.build("resnet18", **shape).name
    assert models.latent_dim_of("resnet18-w24") == models.latent_dim_of("resnet50-w24") == 256
    with pytest.raises(ValueError, match="width"):
        models.build("resnet18-w0", **shape)


def test_weights_rounded_to_half_precision():
    network = models.build("cnn", input_shape=(16, 16, 1), num_classes=3, latent_dim=4)
    before = network.get_weights()
    assert models.round_weights(network, "float32") is network
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    models.round_weights(network, "float16")
    rounded = network.get_weights()
    for a, b in zip(before, rounded, strict=True):
        np.testing.assert_array_equal(b, a.astype("float16").astype(a.dtype) if a.dtype == "f4" else a)
    too_large = [np.full_like(w, 1e5) if i == 0 else w + 1 for i, w in enumerate(rounded)]
    network.set_weights(too_large)
    with pytest.raises(ValueError, match=r"100000\.0 in .*kernel"):
        models.round_weights(network, "float16")
    for a, b in zip(too_large, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="int8"):
        models.round_weights(network, "int8")


def count_wrn(depth, k, latent, classes):
    total, width = conv(3, 3, 16), 16
    for stage in (16 * k, 32 * k, 64 * k):
        for _ in range((depth - 4) // 6):
            total += 2 * width + conv(3, width, stage) + 2 * stage + conv(3, stage, stage)
            if width != stage:
                total += conv(1, width, stage)
            width = stage
    return total + 2 * width + head(width, latent, classes)


@pytest.mark.parametrize("latent", [None, 128])
def test_cnn_parameters(latent):
    model = models.build("cnn", input_shape=(28, 28, 1), num_classes=10, latent_dim=latent)
    assert trainable(model) == count_cnn(latent, 10)
    # The SmallCNN of the published MNIST experiments has 312,202.
    assert count_cnn(None, 10) == 312_202


@pytest.mark.parametrize("latent", [None, 256])
def test_resnet18_parameters(latent):
    model = models.build("resnet18", input_shape=(32, 32, 3), num_classes=10, latent_dim=latent)
    assert trainable(model) == count_resnet18(latent, 10)
    assert count_resnet18(None, 10) == 11_173_962


@pytest.mark.parametrize("latent", [None, 256])
def test_preact_resnet18_parameters(latent):
    # The block's convolutions are those of resnet18; its normalisations are one ahead.
    total, width = conv(3, 3, 64), 64
    for stage in (64, 128, 256, 512):
        for block in range(2):
            first = width if block == 0 else stage
            total += 2 * first + conv(3, first, stage) + 2 * stage + conv(3, stage, stage)
            total += conv(1, first, stage) if first != stage else 0
        width = stage
    total += 2 * 512
    model = models.build("preact-resnet18", input_shape=(32, 32, 3), num_classes=10, latent_dim=latent)
    assert trainable(model) == total + head(512, latent, 10)
    assert total + head(512, None, 10) == 11_172_170


@pytest.mark.parametrize("latent", [None, 256])
def test_vgg16_parameters(latent):
    widths = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    total = sum(conv(3, i, o) + 2 * o for i, o in itertools.pairwise(widths))
    model = models.build("vgg16", input_shape=(32, 32, 3), num_classes=10, latent_dim=latent)
    assert trainable(model) == total + head(512, latent, 10)
    assert model.get_layer("stage5_pool").output.shape == (None, 1, 1, 512)


def test_resnet50_parameters():
    total, width = conv(3, 3, 64) + 2 * 64, 64
    for inner, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        outer = 4 * inner
        for _ in range(blocks):
            total += conv(1, width, inner) + conv(3, inner, inner) + conv(1, inner, outer)
            total += 4 * inner + 2 * outer
            if width != outer:
                total += conv(1, width, outer) + 2 * outer
            width = outer
    model = models.build("resnet50", input_shape=(32, 32, 3), num_classes=10)
    assert trainable(model) == total + head(2048, None, 10) == 23_520_842


@pytest.mark.parametrize("latent", [None, 320])
def test_wide_resnet_parameters(latent):
    model = models.build("wrn-10-2", input_shape=(32, 32, 3), num_classes=100, latent_dim=latent)
    assert trainable(model) == count_wrn(10, 2, latent, 100)
    assert count_wrn(34, 10, None, 10) == 46_160_474


@pytest.mark.slow
def test_wrn_34_10_parameters():
    model = models.build("wrn-34-10", input_shape=(32, 32, 3), num_classes=10)
    assert trainable(model) == 46_160_474


@pytest.mark.parametrize(("name", "shape"), [("cnn", (28, 28, 1)), ("wrn-10-1", (32, 32, 3))])
def test_layers_are_named(name, shape):
    model = models.build(name, input_shape=shape, num_classes=7, latent_dim=5)
    z, mean, scale = model.get_layer("latent").output
    assert z.shape == mean.shape == scale.shape == (None, 5)
    assert model.get_layer("features").output.shape[0] is None
    assert model.output_shape == (None, 7)
    assert model.input_shape == (None, *shape)


def test_convolutions_are_he_normal_in_fan_out():
    model = models.build("wrn-10-2", input_shape=(32, 32, 3), num_classes=10)
    kernel = numpy(model.get_layer("stage3_block1_conv2").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * kernel.shape[-1])), rel=0.02)
    norm = model.get_layer("final_bn")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def test_strided_convolution_pads_every_side():
    inputs = keras.Input((8, 8, 1))
    from sharedkeras.models.blocks import conv as block

    model = keras.Model(inputs, block(1, strides=2, name="c")(inputs))
    model.get_layer("c").set_weights([np.arange(9, dtype="float32").reshape(3, 3, 1, 1)])
    x = np.random.default_rng(0).random((1, 8, 8, 1)).astype("float32")
    padded = np.pad(x[0, :, :, 0], 1)
    kernel = np.arange(9).reshape(3, 3)
    expected = [
        [np.sum(padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * kernel) for j in range(4)]
        for i in range(4)
    ]
    np.testing.assert_allclose(numpy(model(x))[0, :, :, 0], expected, rtol=1e-5)


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError, match="resnet18"):
        models.build("resnet19", input_shape=(32, 32, 3), num_classes=10)


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_shape": (32, 32), "num_classes": 10},
        {"input_shape": (32, 32, 3), "num_classes": 1},
        {"input_shape": (32, 0, 3), "num_classes": 10},
    ],
)
def test_bad_sizes(arguments):
    with pytest.raises(ValueError, match="Received"):
        models.build("cnn", **arguments)


def test_bad_depth():
    with pytest.raises(ValueError, match="6 n"):
        models.build("wrn-33-10", input_shape=(32, 32, 3), num_classes=10)


def small():
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization(name="bn")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))


def test_frozen_view_agrees_and_moves_nothing():
    network = small()
    x = np.random.default_rng(0).random((5, 8, 8, 1)).astype("float32")
    before = [numpy(w).copy() for w in network.weights]
    view = FrozenClassifier(network)
    np.testing.assert_allclose(numpy(view.predict(x)), numpy(network(x)), atol=1e-6)
    assert view.num_classes == 4
    assert view.input_shape == (8, 8, 1)
    for a, b in zip(before, network.weights, strict=True):
        assert np.array_equal(a, numpy(b))


def test_refresh_reads_new_weights_without_compiling_again():
    network = small()
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    view = FrozenClassifier(network)
    old = numpy(view.predict(x))
    network.set_weights([w + 0.1 for w in network.get_weights()])
    assert np.array_equal(numpy(view.predict(x)), old)
    view.refresh()
    np.testing.assert_allclose(numpy(view.predict(x)), numpy(network(x)), atol=1e-6)


def test_several_outputs_need_select():
    network = small()
    features = network.layers[-2].output
    both = keras.Model(network.inputs, {"logits": network.output, "features": features})
    with pytest.raises(ValueError, match="select"):
        FrozenClassifier(both)
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    picked = numpy(FrozenClassifier(both, select="logits").predict(x))
    np.testing.assert_allclose(picked, numpy(network(x)), atol=1e-6)
    listed = keras.Model(network.inputs, [features, network.output])
    picked = numpy(FrozenClassifier(listed, select=1).predict(x))
    np.testing.assert_allclose(picked, numpy(network(x)), atol=1e-6)


def test_random_layers_are_noticed():
    def of(layer):
        inputs = keras.Input((6, 6, 1))
        x = keras.layers.Flatten()(layer(inputs))
        return FrozenClassifier(keras.Model(inputs, keras.layers.Dense(3)(x)))

    assert not FrozenClassifier(small()).random
    latent = models.build("cnn", input_shape=(28, 28, 1), num_classes=3, latent_dim=4)
    # They have generators, which rest while the network is not trained.
    quiet = FrozenClassifier(latent), of(keras.layers.Dropout(0.5)), of(keras.layers.RandomFlip())
    assert not any(view.random or view.folded.random for view in quiet)
    for layer in latent.layers:
        if hasattr(layer, "sample_at_inference"):
            layer.sample_at_inference = True
    noisy = FrozenClassifier(latent), of(lambda x: x + Noise()(x))
    assert all(view.random and view.folded.random for view in noisy)
    open_size = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.5)(open_size))
    assert FrozenClassifier(keras.Model(open_size, pooled)).random  # Not known, so taken to be.


def test_no_model():
    with pytest.raises(TypeError, match=r"keras\.Model"):
        FrozenClassifier(lambda x: x)


def test_load_network_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received"):
        models.load_network(tmp_path / "nothing")
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match=r"best\.keras"):
        models.load_network(tmp_path / "run")
    bad = tmp_path / "bad.keras"
    bad.write_bytes(b"PK but not a zip")
    with pytest.raises(ValueError, match="damaged"):
        models.load_network(bad)
    good = tmp_path / "good.keras"
    small().save(good)
    good.write_bytes(good.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="damaged"):
        models.load_network(good)
    with pytest.raises(ValueError, match="weights"):
        models.load_network(good, weights="newest")
