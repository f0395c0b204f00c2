import dataclasses

import keras
import numpy as np
import pytest

from sharedkeras.data import CropAndFlip
from sharedkeras.math import random


def images(batch=12, height=6, width=5, channels=3, dtype="float32"):
    # Every pixel differs from every other and from the border's 0.
    count = batch * height * width * channels
    return (np.arange(1, count + 1) / count).reshape(batch, height, width, channels).astype(dtype)


def reference(x, draws, padding, flip):
    """The same in loops: where each pixel of the output comes from."""
    _, height, width, _ = x.shape
    out = np.zeros_like(x)
    for i, (down, right, coin) in enumerate(draws):
        top = int(np.floor(down * (2 * padding + 1))) - padding
        left = int(np.floor(right * (2 * padding + 1))) - padding
        crop = np.zeros_like(x[i])
        for row in range(height):
            for column in range(width):
                source = row + top, column + left
                if 0 <= source[0] < height and 0 <= source[1] < width:
                    crop[row, column] = x[i][source]
        out[i] = crop[:, ::-1] if flip and coin < 0.5 else crop
    return out


def compiled(fn):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # The batch size is unknown when traced, as in `fit`.
        def spec(shape, dtype):
            return tf.TensorSpec(shape, dtype)

        def run(x, key, index):
            signature = [
                spec((None, *x.shape[1:]), x.dtype),
                spec((2,), "uint32"),
                spec((None,), "int32"),
            ]
            return tf.function(fn, input_signature=signature)(x, key, index)

        return run
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(fn)
    return fn


def run(augment, x, index=None, seed=0, wrap=lambda fn: fn):
    index = np.arange(len(x), dtype="int32") if index is None else np.asarray(index, "int32")
    key = random.key(seed)
    out = wrap(augment)(keras.ops.convert_to_tensor(x), key, keras.ops.convert_to_tensor(index))
    draws = keras.ops.convert_to_numpy(random.uniform(key, index, (3,)))
    return keras.ops.convert_to_numpy(out), draws


@pytest.mark.parametrize("wrap", [lambda fn: fn, compiled], ids=["eager", "compiled"])
@pytest.mark.parametrize(("padding", "flip"), [(4, True), (4, False), (2, True), (0, True), (0, False)])
def test_equals_the_reference(padding, flip, wrap):
    x = images()
    out, draws = run(CropAndFlip(padding=padding, flip=flip), x, wrap=wrap)
    np.testing.assert_array_equal(out, reference(x, draws, padding, flip))
    assert out.dtype == x.dtype
    if not padding and not flip:
        np.testing.assert_array_equal(out, x)


@pytest.fixture
def float64():
    if keras.backend.backend() == "jax":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield


@pytest.mark.parametrize("wrap", [lambda fn: fn, compiled], ids=["eager", "compiled"])
def test_float64_keeps_every_bit(float64, wrap):
    x = images(dtype="float64") / 3
    out, draws = run(CropAndFlip(), x, wrap=wrap)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, reference(x, draws, 4, True))


def test_depends_on_the_example_not_on_the_batch():
    x = images()
    whole, _ = run(CropAndFlip(), x)
    order = np.array([7, 2, 11, 0])
    part, _ = run(CropAndFlip(), x[order], index=order)
    np.testing.assert_array_equal(part, whole[order])
    other, _ = run(CropAndFlip(), x, seed=1)
    assert not np.array_equal(other, whole)


def test_all_shifts_and_both_sides_are_as_frequent():
    # A lone white pixel in the middle shows where each image went.
    count, padding = 8100, 1
    x = np.zeros((count, 4, 4, 1), "float32")
    x[:, 1, 1] = 1.0
    out, _ = run(CropAndFlip(padding=padding), x)
    assert (out.sum(axis=(1, 2, 3)) == 1).all()
    _, row, column, _ = np.nonzero(out)
    places = np.zeros((4, 4))
    np.add.at(places, (row, column), 1)
    # Rows 0..2 are equally likely; columns 0..2 unmirrored, 1..3 mirrored.
    share = np.outer([1, 1, 1, 0], [0.5, 1, 1, 0.5]) / 9
    np.testing.assert_allclose(places / count, share, atol=5 * np.sqrt(1 / 9 / count))
    assert (places[share == 0] == 0).all()


def test_largest_draw_stays_inside(monkeypatch):
    def largest(key, index, shape):
        return keras.ops.ones((len(index), *shape), "float32") * np.float32(1 - 2.0**-24)

    monkeypatch.setattr(random, "uniform", largest)
    for padding in (1, 3, 4, 12):
        x = images(batch=2)
        out, _ = run(CropAndFlip(padding=padding), x)
        np.testing.assert_array_equal(out, reference(x, np.full((2, 3), 1 - 2.0**-24), padding, True))


def test_is_a_value():
    assert CropAndFlip() == CropAndFlip(padding=4, flip=True)
    assert dataclasses.asdict(CropAndFlip(padding=2)) == {"padding": 2, "flip": True}
    assert repr(CropAndFlip()) == "CropAndFlip(padding=4, flip=True)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        CropAndFlip().padding = 3


@pytest.mark.parametrize(("padding", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bad_padding(padding, error):
    with pytest.raises(error, match=f"Received: padding={padding}"):
        CropAndFlip(padding=padding)
