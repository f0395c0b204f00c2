"""Losses against values and gradients computed by the official PyTorch tools."""

import keras
import numpy as np
import pytest
from keras import ops
from support.gradients import value_and_grads

from sharedkeras import losses

FLOATS = ["float32", "float64"]
CLOSE = {"float32": 1e-5, "float64": 1e-9}


@pytest.fixture(autouse=True)
def wide_numbers(request):
    """Lets JAX compute in float64, which it otherwise turns into float32."""
    dtype = getattr(request.node, "callspec", None) and request.node.callspec.params.get("dtype")
    if keras.config.backend() == "jax" and dtype == "float64":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield


@pytest.fixture(scope="module")
def reference(golden_losses):
    return golden_losses


def check(value, grads, expected_value, expected_grads, dtype):
    assert value == pytest.approx(float(expected_value), rel=CLOSE[dtype])
    for got, expected in zip(grads, expected_grads, strict=True):
        scale = np.linalg.norm(expected)
        if dtype == "float32":
            # Below the rounding of numbers near 1 a float32 gradient is zero.
            assert np.linalg.norm(got - expected) <= max(1e-5 * scale, 1e-9)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9 * max(scale, 1))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", range(3))
def test_symmetrised_kl_gaussian(reference, case, dtype):
    r = {k: reference[f"skl{case}_{k}"] for k in ("mu1", "logvar1", "mu2", "logvar2", "jeffreys_mean")}

    def mean(mu1, logvar1, mu2, logvar2):
        scale1, scale2 = ops.exp(0.5 * logvar1), ops.exp(0.5 * logvar2)
        # Not `ops.mean`, which Keras computes in float32 on JAX.
        return ops.sum(losses.symmetrised_kl_gaussian(mu1, scale1, mu2, scale2)) / mu1.shape[0]

    names = ("mu1", "logvar1", "mu2", "logvar2")
    value, grads = value_and_grads(mean, [r[n] for n in names], dtype)
    expected = [reference[f"skl{case}_grad_{n}"] / 2 for n in names]
    check(value, grads, r["jeffreys_mean"] / 2, expected, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", range(6))
def test_hsic(reference, case, dtype):
    x, y = reference[f"hsic{case}_X"], reference[f"hsic{case}_Y"]
    value, grads = value_and_grads(losses.hsic, [x, y], dtype)
    expected = [reference[f"hsic{case}_grad_biased_{n}"] for n in "XY"]
    check(value, grads, reference[f"hsic{case}_biased"], expected, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", range(5))
def test_dlr(reference, case, dtype):
    logits, y = reference[f"adv{case}_logits_adv"], reference[f"adv{case}_labels"]
    value, grads = value_and_grads(lambda z: ops.sum(losses.dlr(y, z)), [logits], dtype)
    expected = reference[f"adv{case}_dlr_per_sample"].sum()
    check(value, grads, expected, [reference[f"adv{case}_dlr_grad_sum"]], dtype)
    target = reference[f"adv{case}_dlrt_target"]
    value, grads = value_and_grads(lambda z: ops.sum(losses.dlr_targeted(y, target, z)), [logits], dtype)
    expected = reference[f"adv{case}_dlrt_per_sample"].sum()
    check(value, grads, expected, [reference[f"adv{case}_dlrt_grad_sum"]], dtype)


def test_dlr_is_flat_where_the_true_class_ranks_third():
    z = np.array([[3.0, 2.0, 5.0, 1.0]], "float32")
    value, grads = value_and_grads(lambda z: ops.sum(losses.dlr([1], z)), [z], "float32")
    assert value == pytest.approx(1.0)
    np.testing.assert_allclose(grads[0], 0, atol=1e-6)
