"""`compat="torchattacks"` against torchattacks itself, and the correct mode against both."""

import keras
import numpy as np
import pytest
from keras import ops
from support.golden import M1, M2, clean_logits, images, reference

from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner
from sharedkeras.models import FrozenClassifier

RATE = {"M1": 0.003, "M2": 0.01}


@pytest.fixture(scope="module", params=[pytest.param("M1", marks=pytest.mark.slow_on_jax), "M2"])
def case(request, golden):
    name = request.param
    network = {"M1": M1, "M2": M2}[name]()
    with np.load(golden / f"cw_{name}.npz") as archive:
        return name, FrozenClassifier(network), dict(archive)


def numpy(t):
    return ops.convert_to_numpy(t)


def test_every_step_is_that_of_torchattacks(case):
    name, classifier, want = case
    x, y = images(name, 16)
    attack = CarliniWagner(compat="torchattacks", steps=20, learning_rate=RATE[name])
    trace = {k: numpy(v) for k, v in attack.run(classifier, x, y, seed=0, trace=True).trace.items()}
    # Rounding moves images that are wrong from the start: compare those that are not.
    right = clean_logits(name)[:16].argmax(1) == y
    assert trace["f"].shape == want["f4_f_per_step"].shape  # The batch stops at the same step.
    # A logit of 30 carries 1e-6 of rounding, and Adam makes more of it.
    for ours, theirs, tolerance in (("f", "f4_f_per_step", 2e-4), ("sq_l2", "f4_sq_l2_per_step", 1e-4)):
        np.testing.assert_allclose(trace[ours][:, right], want[theirs][:, right], atol=tolerance)
    np.testing.assert_array_equal(trace["predicted"][:, right], want["f4_pred_per_step"][:, right])


def test_accuracy_and_distance_are_those_of_torchattacks(case):
    name, classifier, want = case
    x, y = images(name)
    right = clean_logits(name).argmax(1) == y
    attack = CarliniWagner(compat="torchattacks", steps=20, learning_rate=RATE[name])
    found = attack.run(classifier, x, y, seed=0)
    np.testing.assert_array_equal(~numpy(found.success), want["ta_cw_robust"])
    both = numpy(found.success) & right
    if name == "M1":
        assert not both.any()  # At these settings torchattacks finds nothing either.
        return
    ratio = numpy(found.distance)[both] / want["ta_cw_l2"][both]
    assert abs(np.median(ratio) - 1) < 0.02
    attack = CarliniWagner(compat="torchattacks", steps=100, learning_rate=0.05)
    found = attack.run(classifier, x, y, seed=0)
    robust = want["ta_cw_steps100_lr0.05_robust"]
    assert abs((~numpy(found.success)).mean() - robust.mean()) <= 0.01
    both = numpy(found.success) & right & ~robust
    ratio = numpy(found.distance)[both] / want["ta_cw_steps100_lr0.05_l2"][both]
    assert abs(np.median(ratio) - 1) < 0.02


def test_the_search_on_c_is_stronger(case):
    name, classifier, want = case
    x, y = images(name, 40)
    right = clean_logits(name)[:40].argmax(1) == y
    x, y = x[right][:16], y[right][:16]
    rate = 0.05 if name == "M1" else 0.01
    found = CarliniWagner(steps=40, learning_rate=rate, search_steps=6).run(classifier, x, y, seed=0)
    theirs = want["ta_cw_robust"][:40][right][:16]
    assert (~numpy(found.success)).sum() < theirs.sum()
    if name == "M2":
        assert numpy(found.success).all()
        nearer = want["ta_cw_steps100_lr0.05_l2"][:40][right][:16]
        both = nearer > 0
        assert np.median(numpy(found.distance)[both] / nearer[both]) < 1


@pytest.mark.slow
@pytest.mark.tensorflow  # Keras on JAX computes tanh in float32 whatever it is given.
@pytest.mark.parametrize("name", ["M1", "M2"])
def test_double_precision_agrees_to_the_last_digits(name):
    trace = reference(f"trace_{name}.npz")
    test_set = reference(f"{name}_testset.npz")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        network = {"M1": M1, "M2": M2}[name]()
        x = test_set["x_uint8"][:16].astype("float64") / 255
        x = x[..., None] if x.ndim == 3 else x
        y = test_set["y"][:16].astype("int32")
        attack = CarliniWagner(compat="torchattacks", steps=20, learning_rate=RATE[name])
        ours = attack.run(FrozenClassifier(network), x, y, seed=0, trace=True).trace
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    right = test_set["logits_clean_f8"][:16].argmax(1) == y
    for mine, theirs in (("f", "f8_cw_f_per_step"), ("sq_l2", "f8_cw_sq_l2_per_step")):
        np.testing.assert_allclose(numpy(ours[mine])[:, right], trace[theirs][:, right], atol=1e-6)
