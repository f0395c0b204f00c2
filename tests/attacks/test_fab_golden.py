"""FAB-T against the official AutoAttack's outcomes."""

import os
import pathlib

import numpy as np
import pytest
from keras import ops

from sharedkeras.attacks.fab.fab import FAB
from sharedkeras.models import FrozenClassifier

networks = pytest.importorskip("support.golden", reason="needs the reference networks")


@pytest.mark.numeric
def test_tiny_resnet(golden):
    """14 images, three targets: enough for those that break, and no fewer withstand all nine."""
    data = np.load(golden / "fab_m2.npz")
    x = data["x_uint8"].astype("float32") / 255
    attack = FAB(epsilon=8 / 255, targeted=True, targets=3)
    result = attack.run(FrozenClassifier(networks.M2()), x, data["y"], seed=0, early_stop=True)
    robust = ~ops.convert_to_numpy(result.success)
    np.testing.assert_array_equal(robust, data["robust"])
    broken = ~robust & (data["linf"] > 0)
    distance = ops.convert_to_numpy(result.distance)
    np.testing.assert_allclose(distance[broken], data["linf"][broken], rtol=5e-3)


def _reference(name):
    folder = os.environ.get("SHAREDKERAS_REFERENCE")
    if not folder:
        pytest.skip("SHAREDKERAS_REFERENCE does not name the directory of the official tools' outputs")
    folder = pathlib.Path(folder)
    test, results = np.load(folder / f"{name}_testset.npz"), np.load(folder / f"{name}_results.npz")
    x = test["x_uint8"].astype("float32") / np.float32(255)
    return (x[..., None] if x.ndim == 3 else x), test["y"].astype("int32"), results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key", "epsilon"),
    [
        ("M1", "aa_linf_fab_t_first100_seed0", 0.3),
        ("M2", "aa_linf_fab_t_seed0", 8 / 255),
    ],
)
def test_flags_equal_the_official_ones(name, key, epsilon):
    x, y, results = _reference(name)
    expected = results[f"{key}/robust"]
    x, y = x[: len(expected)], y[: len(expected)]
    classifier = FrozenClassifier(getattr(networks, name)())
    result = FAB(epsilon=epsilon, targeted=True).run(classifier, x, y, seed=0, early_stop=True)
    assert (~ops.convert_to_numpy(result.success) == expected).mean() >= 0.99


@pytest.mark.slow
def test_smallest_norms_equal_the_official_ones():
    x, y, results = _reference("M1")
    key = "fab_minnorm_linf_targeted_first50"
    attack = FAB(epsilon=0.3, targeted=True)
    result = attack.run(FrozenClassifier(networks.M1()), x[:50], y[:50], seed=0, trace=True)
    expected, each = results[f"{key}/min_dist"], results[f"{key}/min_dist_per_target"]
    right = expected > 0
    ratio = ops.convert_to_numpy(result.distance)[right] / expected[right]
    np.testing.assert_allclose(ratio, 1, atol=0.02)
    np.testing.assert_allclose(np.median(ratio), 1, atol=1e-3)
    ratio = ops.convert_to_numpy(result.trace["run_norm"])[:, right] / each[:, right]
    assert (np.abs(ratio - 1) < 0.01).mean() > 0.97
