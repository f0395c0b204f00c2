"""Losses against NumPy, at their limits, and on bad input."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import losses


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=3, size=(12, 5)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 5, 12).astype("int32")


def softmax(z):
    e = np.exp(z.astype("float64") - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_cross_entropy(labels, logits):
    expected = -np.log(softmax(logits)[np.arange(12), labels])
    np.testing.assert_allclose(numpy(losses.cross_entropy(labels, logits)), expected, rtol=1e-5)


def test_label_smoothing_is_the_cross_entropy_of_smoothed_labels(labels, logits):
    smoothed = 0.9 * np.eye(5)[labels] + 0.1 / 5
    expected = -np.sum(smoothed * np.log(softmax(logits)), axis=1)
    value = numpy(losses.cross_entropy(labels, logits, smoothing=0.1))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_cross_entropy_of_huge_logits_is_finite():
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], "float32")
    np.testing.assert_allclose(numpy(losses.cross_entropy([0, 0], z)), [0, 2e4], rtol=1e-6)


def test_margin_is_positive_exactly_where_misclassified(labels, logits):
    expected = np.array([np.delete(z, y).max() - z[y] for z, y in zip(logits, labels, strict=True)])
    value = numpy(losses.margin(labels, logits))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.array_equal(value > 0, logits.argmax(1) != labels)


def test_soft_margin_smooths_the_margin(labels, logits):
    others = [np.delete(z, y).astype("float64") for z, y in zip(logits, labels, strict=True)]
    expected = np.log(np.sum(np.exp(others), axis=1)) - logits[np.arange(12), labels]
    np.testing.assert_allclose(numpy(losses.soft_margin(labels, logits)), expected, rtol=1e-5, atol=1e-6)
    sharp = numpy(losses.soft_margin(labels, 100 * logits)) / 100
    np.testing.assert_allclose(sharp, numpy(losses.margin(labels, logits)), atol=np.log(4) / 100)


def test_log_complement_is_exact_where_the_class_has_all_the_probability(labels, logits):
    probability = softmax(logits)[np.arange(12), labels]
    expected = np.log1p(-probability)
    np.testing.assert_allclose(numpy(losses.log_complement(labels, logits)), expected, rtol=1e-4)
    z = np.array([[50.0, 0.0, 0.0]], "float32")
    assert numpy(losses.log_complement([0], z))[0] == pytest.approx(np.log(2) - 50, rel=1e-6)


def test_dlr_ignores_scale(labels, logits):
    a = numpy(losses.dlr(labels, logits))
    np.testing.assert_allclose(a, numpy(losses.dlr(labels, 100 * logits)), rtol=1e-4)
    assert np.array_equal(a > 0, logits.argmax(1) != labels)


def test_kl_categorical(logits):
    p, q = softmax(logits[:6]), softmax(logits[6:])
    forward = np.sum(p * np.log(p / q), axis=1)
    backward = np.sum(q * np.log(q / p), axis=1)
    np.testing.assert_allclose(numpy(losses.kl_categorical(logits[:6], logits[6:])), forward, rtol=1e-4)
    both = numpy(losses.symmetrised_kl_categorical(logits[:6], logits[6:]))
    np.testing.assert_allclose(both, (forward + backward) / 2, rtol=1e-4)


def test_symmetrised_kl_gaussian_is_symmetric_and_zero_for_equals():
    rng = np.random.default_rng(2)
    m1, m2 = rng.normal(size=(2, 4, 7)).astype("float32")
    s1, s2 = (rng.random((2, 4, 7)) + 0.1).astype("float32")
    one = numpy(losses.symmetrised_kl_gaussian(m1, s1, m2, s2))
    other = numpy(losses.symmetrised_kl_gaussian(m2, s2, m1, s1))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert np.all(one > 0)
    assert np.all(numpy(losses.symmetrised_kl_gaussian(m1, s1, m1, s1)) == 0)


def test_hsic_rises_with_dependence():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 8)).astype("float32")
    y = rng.normal(size=(64, 8)).astype("float32")
    independent = float(numpy(losses.hsic(x, y)))
    half = float(numpy(losses.hsic(x, (x + y) / np.float32(np.sqrt(2)))))
    same = float(numpy(losses.hsic(x, x)))
    assert 0 <= independent < half < same


def test_hsic_ignores_scale_and_order():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 32, 4)).astype("float32")
    base = float(numpy(losses.hsic(x, y)))
    order = rng.permutation(32)
    assert float(numpy(losses.hsic(10 * x + 3, y))) == pytest.approx(base, rel=1e-4)
    assert float(numpy(losses.hsic(x[order], y[order]))) == pytest.approx(base, rel=1e-5)


def test_hsic_caps_neighbours_in_small_batches():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 4, 3)).astype("float32")
    assert float(numpy(losses.hsic(x, y, neighbours=10))) == float(
        numpy(losses.hsic(x, y, neighbours=3))
    )


def test_hsic_of_identical_samples_is_zero():
    x = np.ones((5, 3), "float32")
    assert float(numpy(losses.hsic(x, x))) == 0


def test_hsic_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="at least 2"):
        losses.hsic(np.ones((1, 3), "float32"), np.ones((1, 3), "float32"))


def test_hsic_refuses_different_lengths():
    with pytest.raises(ValueError, match="as many samples"):
        losses.hsic(np.ones((3, 3), "float32"), np.ones((4, 3), "float32"))


@pytest.mark.parametrize(("name", "classes"), [("dlr", 2), ("margin", 1)])
def test_too_few_classes(name, classes):
    with pytest.raises(ValueError, match="needs at least"):
        getattr(losses, name)(np.zeros(2, "int32"), np.zeros((2, classes), "float32"))
    with pytest.raises(ValueError, match="needs at least"):
        losses.dlr_targeted([0], [1], np.zeros((1, 3), "float32"))


def test_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match="margin"):
        losses.get("hinge")


def test_losses_keep_the_dtype(labels, logits):
    for fn in (losses.cross_entropy, losses.margin, losses.dlr):
        assert keras.backend.standardize_dtype(fn(labels, logits).dtype) == "float32"


HALF_LOSSES = {
    "cross_entropy": lambda z: losses.cross_entropy(np.array([0, 1, 2]), z),
    "cross_entropy by name": lambda z: losses.cross_entropy(y=np.array([0, 1, 2]), logits=z),
    "margin": lambda z: losses.margin(np.array([0, 1, 2]), z),
    "dlr": lambda z: losses.dlr(np.array([0, 1, 2]), z),
    "dlr_targeted": lambda z: losses.dlr_targeted(np.array([0, 1, 2]), np.array([1, 2, 3]), z),
    "kl_categorical": lambda z: losses.kl_categorical(z, 0.5 * z),
    "symmetrised_kl_categorical": lambda z: losses.symmetrised_kl_categorical(z, 0.5 * z),
    "symmetrised_kl_gaussian": lambda z: losses.symmetrised_kl_gaussian(z, z * z + 1, 2 * z, z * z + 2),
    "hsic": lambda z: losses.hsic(z, z, 2),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", HALF_LOSSES)
def test_half_precision_is_computed_in_full(name, dtype):
    # Sixteenths and their multiples are exact in both types.
    logits = np.array([[8, 7, 1, 0.5], [1, 6, 2, 3], [0.25, 1, 12, 4]], "float32")
    half = HALF_LOSSES[name](ops.cast(logits, dtype))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    expected = ops.convert_to_numpy(HALF_LOSSES[name](ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(ops.convert_to_numpy(half), expected, rtol=1e-6)
