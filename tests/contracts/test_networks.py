"""What every network keeps, whichever it is: a table with a row for each."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import models
from sharedkeras.models import CallableClassifier, Classifier, FrozenClassifier

CLASSES, LATENT, COUNT = 3, 4, 2


class Row(NamedTuple):
    """A network of this name or family, made on images so small that it is cheap."""

    name: str
    input_shape: tuple


ROWS = {
    "cnn": Row("cnn", (16, 16, 1)),
    "preact-resnet18": Row("preact-resnet18", (4, 4, 3)),
    "resnet18": Row("resnet18", (4, 4, 3)),
    "resnet50": Row("resnet50-w8", (4, 4, 3)),  # The same family, smaller.
    "vgg16": Row("vgg16", (32, 32, 3)),
    "resnet18-w<width>": Row("resnet18-w8", (4, 4, 3)),
    "wrn-34-10": Row("wrn-16-1", (4, 4, 3)),  # The same family, smaller.
    "wrn-<depth>-<width>": Row("wrn-10-2", (8, 4, 2)),
}


def numpy(t):
    return ops.convert_to_numpy(t)


def build(name, latent_dim, seed=0):
    keras.utils.set_random_seed(seed)
    row = ROWS[name]
    return models.build(
        row.name, input_shape=row.input_shape, num_classes=CLASSES, latent_dim=latent_dim
    )


@functools.cache
def classifier(name, latent_dim):
    return FrozenClassifier(build(name, latent_dim))


def images(name):
    return np.random.default_rng(0).uniform(size=(COUNT, *ROWS[name].input_shape)).astype("float32")


both = pytest.mark.parametrize("latent_dim", [None, LATENT])
each = pytest.mark.parametrize("name", ROWS)


def test_every_network_has_a_row():
    assert list(ROWS) == models.names()
    public = {name for name in vars(models) if name in models.__all__}
    assert {"cnn", "resnet18", "resnet50", "wide_resnet"} <= public


@each
@both
def test_logits_and_named_layers(name, latent_dim):
    view = classifier(name, latent_dim)
    logits = numpy(view.predict(images(name)))
    assert logits.shape == (COUNT, CLASSES) and np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-6  # It looks at its input.
    assert view.last_step == "linear"
    features = view.network.get_layer("features").output
    assert len(features.shape) == 2
    names = {layer.name for layer in view.network.layers}
    assert ("latent" in names) == (latent_dim is not None)
    if latent_dim:
        shapes = [t.shape for t in view.network.get_layer("latent").output]
        assert shapes == [(None, latent_dim)] * 3
        mean = numpy(view.tap("latent").predict(images(name)))
        np.testing.assert_allclose(
            logits, mean @ numpy(view.parameters[-2]) + numpy(view.parameters[-1]), atol=1e-5
        )


@each
@both
def test_what_attacks_ask(name, latent_dim):
    view = classifier(name, latent_dim)
    assert isinstance(view, Classifier) and view.white_box
    assert view.num_classes == CLASSES and view.input_shape == ROWS[name].input_shape
    assert view.multiply_adds > CLASSES and view.random is False
    assert view.name == view.network.name
    np.testing.assert_allclose(
        numpy(view.folded.predict(images(name))), numpy(view.predict(images(name))), atol=1e-4
    )


@each
@both
def test_the_seed_decides_the_weights_and_nothing_else_the_logits(name, latent_dim):
    first, second = classifier(name, latent_dim).network, build(name, latent_dim)
    another = build(name, latent_dim, seed=1)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = zip(first.trainable_weights, another.trainable_weights, strict=True)
    assert any(not np.array_equal(numpy(a + 0), numpy(b + 0)) for a, b in pairs)
    x = images(name)
    view = classifier(name, latent_dim)
    np.testing.assert_array_equal(numpy(view.predict(x)), numpy(view.predict(x)))


@each
def test_it_comes_back_from_its_file(name, tmp_path):
    view = classifier(name, LATENT)
    view.network.save(tmp_path / "network.keras")
    back = models.load_network(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        numpy(FrozenClassifier(back).predict(images(name))), numpy(view.predict(images(name)))
    )
    assert [layer.name for layer in back.layers] == [layer.name for layer in view.network.layers]


@each
def test_bad_sizes_are_refused(name):
    right = {"input_shape": ROWS[name].input_shape, "num_classes": CLASSES}
    for wrong in (
        {"input_shape": (4, 4)},
        {"input_shape": (0, 4, 3)},
        {"num_classes": 1},
        {"num_classes": 2.0},
        {"latent_dim": 0},
    ):
        with pytest.raises(ValueError, match=f"Received: {next(iter(wrong))}="):
            models.build(ROWS[name].name, **{**right, **wrong})
    with pytest.raises(ValueError, match=r"Unknown network; known are .*Received: name='net'"):
        models.build("net", **right)


def test_functions_keep_the_contract_too():
    class Served:
        name, input_shape, num_classes = "served", (4, 4, 1), 2

        def __call__(self, x):
            return np.zeros((len(x), 2))

    def endpoint(x):
        return np.zeros((len(x), 2))

    for function, name, shape in ((Served(), "served", (4, 4, 1)), (endpoint, "endpoint", None)):
        view = CallableClassifier(function)
        assert isinstance(view, Classifier) and models.as_classifier(view) is view
        assert (view.name, view.input_shape) == (name, shape)
        assert not view.white_box and view.folded is view and not view.random
        assert view.multiply_adds == 0


def test_no_function_is_taken_for_another():
    """`random` traces a function of its own; a caller's may have any key."""
    view = FrozenClassifier(build("cnn", LATENT))
    assert view.random is False
    x = images("cnn")
    given = ops.convert_to_tensor(x), view.state
    doubled = view.apply("probe", lambda view, x, state: 2.0 * view(x, state)[0], *given)
    np.testing.assert_array_equal(numpy(doubled), 2.0 * numpy(view.predict(x)))
