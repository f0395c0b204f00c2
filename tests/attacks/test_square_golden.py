"""Square Attack against the official code on the two reference networks."""

import numpy as np
import pytest
from keras import ops
from support.golden import EPSILON, M1, M2, clean_logits, images

from sharedkeras.attacks.square.square import Square
from sharedkeras.models import FrozenClassifier


def run(golden, name, norm, epsilon, count, queries, seed=0):
    """Return our flags and queries and the official code's, on the images that are right when clean."""
    with np.load(golden / f"square_{name}.npz") as archive:
        official = dict(archive)
    x, y = images(name, count)
    index = np.nonzero(clean_logits(name)[:count].argmax(1) == y)[0].astype("int32")
    classifier = FrozenClassifier({"M1": M1, "M2": M2}[name]())
    attack = Square(norm=norm, epsilon=epsilon, queries=queries)
    result = attack.run(classifier, x[index], y[index], seed=seed, index=index)
    robust, spent = ~ops.convert_to_numpy(result.success), ops.convert_to_numpy(result.queries)
    return robust, spent, {k: v[index] for k, v in official.items() if len(v) >= count}


def test_early_queries_break_as_many_images(golden):
    robust, spent, official = run(golden, "M2", "linf", EPSILON["M2"], 200, 100)
    theirs = [official[f"linf_square_q1000_seed{s}__n_queries_used"] > 101 for s in range(3)]
    assert abs(robust.mean() - np.mean(theirs)) <= 0.05
    expected = np.mean(
        [np.minimum(official[f"linf_square_q1000_seed{s}__n_queries_used"], 101) for s in range(3)]
    )
    assert spent.mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm", "epsilon", "count", "key"),
    [
        ("M1", "linf", 0.3, 100, "linf_square_q1000_first100_seed0"),
        ("M2", "linf", 8 / 255, 200, "linf_square_q1000_seed0"),
        ("M2", "l2", 0.5, 200, "l2_square_q1000_seed0"),
    ],
)
def test_accuracy_is_that_of_the_official_code(golden, name, norm, epsilon, count, key):
    robust, spent, official = run(golden, name, norm, epsilon, count, 1000)
    theirs = official[f"{key}__robust"]
    assert abs(robust.sum() - theirs.sum()) / count <= 0.02
    assert spent.mean() == pytest.approx(np.nanmean(official[f"{key}__n_queries_used"]), rel=0.05)
