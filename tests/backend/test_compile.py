"""Compiled functions."""

import logging

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import backend


def test_one_trace_for_each_combination_of_shapes():
    traced = []

    def fn(parameters, x):
        traced.append(tuple(x.shape))
        return parameters["w"] * ops.sum(x)

    compiled = backend.compile(fn)
    for size in (3, 4, 3, 4):
        x = ops.ones((size, 2))
        for w in (1.0, 2.0):
            got = compiled({"w": ops.convert_to_tensor(w)}, x)
            np.testing.assert_allclose(ops.convert_to_numpy(got), w * size * 2)
    assert traced == [(3, 2), (4, 2)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="The warning is TensorFlow's.")
def test_many_batch_sizes_are_no_reason_to_warn(caplog):
    compiled = backend.compile(lambda x: x + 1.0)
    with caplog.at_level(logging.WARNING):
        for size in range(1, 20):
            compiled(ops.ones((size,)))
    assert not caplog.records
