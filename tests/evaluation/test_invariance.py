"""Verdicts on a convolutional network, whose kernels round differently for every batch shape."""

import numpy as np
import pytest
from support.golden import EPSILON, M2, clean_logits, images

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, Square

COUNT = 16


@pytest.mark.numeric
def test_batch_order_and_slices_do_not_matter():
    network, (x, y) = M2(), images("M2")
    right = np.flatnonzero(clean_logits("M2").argmax(axis=1) == y)[:COUNT]
    x, y = x[right], y[right]
    attacks = {
        "square": Square(epsilon=EPSILON["M2"] / 2, queries=40),
        "apgd": APGD(epsilon=EPSILON["M2"] / 2, steps=5),
    }

    def judge(rows, **arguments):
        arguments = {"version": "custom", "attacks": attacks, "batch_size": COUNT, **arguments}
        return evaluation.autoattack(
            network, x[rows], y[rows], epsilon=EPSILON["M2"] / 2, index=rows, verbose=False, **arguments
        )

    rows = np.arange(COUNT)
    whole = judge(rows)
    assert 0 < whole.robust < whole.accuracy["square"] < whole.clean == 1
    order = np.random.default_rng(0).permutation(COUNT)
    mixed = judge(order)
    merged = evaluation.merge([judge(rows, shard=(i, 2), batch_size=5) for i in range(2)])
    for name, flags in whole.flags.items():
        np.testing.assert_array_equal(mixed.flags[name], flags[order])
        np.testing.assert_array_equal(merged.flags[name], flags)
