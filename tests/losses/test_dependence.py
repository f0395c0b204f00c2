"""MINE and MIGE against NumPy, and on Gaussians whose mutual information is known."""

import keras
import numpy as np
import pytest
from keras import ops
from support.gradients import value_and_grads

from sharedkeras import losses
from sharedkeras.math.stein import spectral_score

RHO = np.sqrt(1 - np.exp(-2.0))  # I = -log(1 - rho^2) / 2 = 1 nat.


def numpy(x):
    return ops.convert_to_numpy(x)


def gaussians(count, seed, dimensions=1, rho=RHO):
    x, noise = np.random.default_rng(seed).normal(size=(2, count, dimensions))
    y = rho * x + np.sqrt(1 - rho**2) * noise
    return x.astype("float32"), y.astype("float32")


def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


def test_gradient_of_mige_is_the_difference_of_scores():
    x, y = gaussians(40, 0, 2)
    value, (dx, dy) = value_and_grads(losses.mige, [x, y], "float32")
    joint = np.concatenate([x, y], axis=1)
    both = numpy(spectral_score(joint))
    expected = [both[:, :2] - numpy(spectral_score(x)), both[:, 2:] - numpy(spectral_score(y))]
    np.testing.assert_allclose(dx, expected[0] / 40, atol=1e-5)
    np.testing.assert_allclose(dy, expected[1] / 40, atol=1e-5)
    assert value == pytest.approx(np.sum(np.concatenate(expected, axis=1) * joint) / 40, abs=1e-3)


def test_mige_points_along_the_gradient_of_the_mutual_information():
    x, y = gaussians(512, 0)
    value, grads = value_and_grads(losses.mige, [x, y], "float32")
    # The scores of a Gaussian are linear: -P (x, y) with the inverse covariance P.
    joint = np.concatenate([x, y], axis=1)
    exact = (joint - joint @ np.linalg.inv([[1, RHO], [RHO, 1]])) / 512
    found = np.concatenate(grads, axis=1)
    assert cosine(found, exact) >= 0.9
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(exact), rel=0.2)
    assert abs(value) < 0.2  # Stein's identity.


def test_mige_finds_how_a_mixing_matrix_must_change():
    rho = 0.8
    x, y = gaussians(512, 1, 2, rho)
    _, (_, dy) = value_and_grads(losses.mige, [x, y], "float32")
    # y = A x + noise with A = rho 1 and noise of variance s = 1 - rho^2, so that
    # I = log det(A A^T / s + 1) / 2 and dI/dA = (A A^T + s)^-1 A = rho 1.
    assert cosine(dy.T @ x, rho * np.eye(2)) >= 0.9


def test_mige_refuses_batches_of_unequal_length():
    with pytest.raises(ValueError, match="as many samples"):
        losses.mige(np.zeros((4, 2), "float32"), np.zeros((5, 2), "float32"))


def critic(**options):
    keras.utils.set_random_seed(0)
    layer = losses.MINE(**{"units": (6, 5), "limit": 2.0, "rate": 0.25, **options})
    layer.build((None, 2), (None, 3))
    return layer


def scale(x):
    return x.mean(axis=0), np.sqrt(np.mean((x - x.mean(axis=0)) ** 2))


def in_numpy(weights, x, y, limit, average=None, scales=None):
    """Computes the bound; with `average`, the function that has the corrected gradient."""

    def score(pairs):
        for kernel, bias in (weights[:2], weights[2:4]):
            pairs = np.maximum(pairs @ kernel + bias, 0)
        raw = (pairs @ weights[4] + weights[5])[:, 0]
        return raw / (1 + np.abs(raw) / limit)

    x, y = (
        (v - centre) / size
        for v, (centre, size) in zip((x, y), scales or map(scale, (x, y)), strict=True)
    )
    pairs = score(np.concatenate([x, y], axis=1)).mean()
    mean = np.exp(score(np.concatenate([x, np.roll(y, 1, axis=0)], axis=1))).mean()
    return pairs - (np.log(mean) if average is None else mean / average), mean


def test_mine_is_the_donsker_varadhan_bound():
    layer = critic()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 3))
    weights = [numpy(v).astype("float64") for v in layer.trainable_variables]
    expected, mean = in_numpy(weights, x, y, 2.0)
    x, y = x.astype("float32"), y.astype("float32")
    assert float(numpy(layer(x, y))) == pytest.approx(expected, abs=1e-6)
    assert float(numpy(layer.mean + 0)) == 1.0
    assert float(numpy(layer(x, y, training=True))) == pytest.approx(expected, abs=1e-6)
    assert float(numpy(layer.mean + 0)) == pytest.approx(0.75 + 0.25 * mean, rel=1e-6)


def test_gradient_of_mine_divides_by_the_moving_average():
    layer = critic()
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    weights = [numpy(v).astype("float64") for v in layer.trainable_variables]
    _, mean = in_numpy(weights, x, y, 2.0)
    average = 0.75 + 0.25 * mean
    scales = [scale(x), scale(y)]  # Constants, as the average is.
    trainable = [ops.convert_to_tensor(v) for v in layer.trainable_variables]

    def bound(kernel, x, y):
        given = [*trainable[:2], kernel, *trainable[3:]]
        state = [ops.convert_to_tensor(v) for v in layer.non_trainable_variables]
        return layer.stateless_call(given, state, x, y, training=True)[0]

    _, grads = value_and_grads(bound, [weights[2].astype("float32"), x, y], "float32")
    for which, array in ((0, weights[2]), (1, x), (2, y)):
        for place in ((0, 0), (-1, 1), (2, 1)):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [weights[2].copy(), x.copy(), y.copy()]
                moved[which][place] += step
                full = [*weights[:2], moved[0], *weights[3:]]
                sides.append(in_numpy(full, *moved[1:], 2.0, average, scales)[0])
            expected = (sides[0] - sides[1]) / 2e-6
            assert grads[which][place] == pytest.approx(expected, rel=1e-3, abs=1e-6), array.shape


def test_mine_does_not_see_scale_and_place():
    layer = critic()
    x, y = (v.astype("float32") for v in np.random.default_rng(3).normal(size=(2, 8, 3)))
    expected = float(numpy(layer(x[:, :2], y)))
    moved = float(numpy(layer(100 * x[:, :2] + 7, 0.01 * y - 1)))
    assert moved == pytest.approx(expected, abs=1e-4)
    assert abs(expected) > 1e-3


def test_mine_stays_bounded_where_pairs_are_equal():
    layer = critic(limit=3.0)
    layer.set_weights([100 * w for w in layer.get_weights()])
    x = np.random.default_rng(2).normal(size=(16, 2)).astype("float32")
    y = np.concatenate([x, x[:, :1]], axis=1)
    assert abs(float(numpy(layer(x, y)))) <= 6.0 + 1e-5


class Climb(keras.Model):
    """Raises the bound on pairs that lie side by side."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.built = True

    def call(self, pairs, training=False):
        return self.layer(pairs[:, :1], pairs[:, 1:], training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -y_pred


@pytest.mark.parametrize("units", [(64, 64), pytest.param((512, 512), marks=pytest.mark.slow)])
def test_mine_finds_one_nat(units):
    keras.utils.set_random_seed(0)
    layer = losses.MINE(units=units)
    layer.build((None, 1), (None, 1))
    model = Climb(layer)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    count = 150 * 256
    model.fit(np.concatenate(gaussians(count, 0), axis=1), np.zeros(count), batch_size=256, verbose=0)
    assert float(numpy(layer(*gaussians(20_000, 1)))) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("options", [{"limit": 0.0}, {"limit": 100.0}, {"rate": 0.0}, {"rate": 2.0}])
def test_bad_options_of_mine(options):
    with pytest.raises(ValueError, match="Received"):
        losses.MINE(**options)
