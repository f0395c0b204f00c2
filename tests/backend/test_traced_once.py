"""A function that many graphs call is traced for few of them, and gives what it gives by itself."""

import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.math import random


def _counted():
    traces = []

    def both(a, b):
        traces.append(1)
        return a + b, a * b

    return both, traces


def _watched(fn):
    seen = []

    def graph(a, b):
        results = fn(a, b)
        seen.append(tuple(tuple(result.shape) for result in results))
        return results

    return graph, seen


def test_graphs_of_many_shapes_share_one_trace():
    fn, traces = _counted()
    once = backend.traced_once(fn)
    shapes = [((), ()), ((3,), ()), ((4, 1), (1, 5)), ((4, 1), (1, 5)), ((2, 3), (2, 3))]
    for left, right in shapes:
        a, b = np.full(left, 3, "int32"), np.full(right, 4, "int32")
        graph, seen = _watched(once)
        found = backend.compile(graph)(ops.convert_to_tensor(a), ops.convert_to_tensor(b))
        for got, wanted in zip(found, (a + b, a * b), strict=True):
            assert np.array_equal(ops.convert_to_numpy(got), wanted)
        assert seen == [((a + b).shape,) * 2]  # A graph needs static shapes of what it calls.
    # XLA needs static shapes inside as well.
    assert len(traces) == (len(set(shapes)) if backend.version().startswith("jax") else 1)


def test_types_have_traces_of_their_own():
    fn, traces = _counted()
    once = backend.traced_once(fn)
    for dtype in ("int32", "float32", "int32"):
        found = once(*(ops.convert_to_tensor(np.ones(2, dtype)) for _ in range(2)))
        assert ops.convert_to_numpy(found[0]).dtype == dtype
    assert len(traces) == 2


def test_the_cipher_is_not_traced_again(monkeypatch):
    random.key(0, "first")
    # A trace would look the rotations up.
    monkeypatch.setattr(random, "_ROTATIONS", None)
    one = backend.compile(lambda key: random.key(key, 1, 2, 3))(random.key(5))
    monkeypatch.undo()
    assert np.array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(random.key(5, 1, 2, 3)))
