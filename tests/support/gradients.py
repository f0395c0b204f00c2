"""Values and gradients of functions of several arrays, in one compiled graph."""

import keras
from keras import ops

from sharedkeras import backend


def value_and_grads(fn, arguments, dtype):
    """Returns a scalar function's value and its gradients with respect to all its arguments.

    Args:
        fn: `fn(*arguments) -> scalar`.
        arguments: list of arrays.
        dtype: "float32" or "float64", in which all is computed.

    Returns:
        `(float, list of arrays)`.
    """
    arguments = [ops.convert_to_tensor(a.astype(dtype)) for a in arguments]

    def run(*arguments):
        grads = []
        for i in range(len(arguments)):

            def one(x, i=i):
                return fn(*arguments[:i], x, *arguments[i + 1 :]), ()

            (value, _), grad = backend.value_and_grad(one, arguments[i])
            grads.append(grad)
        return value, grads

    value, grads = backend.compile(run)(*arguments)
    assert all(keras.backend.standardize_dtype(g.dtype) == dtype for g in grads)
    return float(ops.convert_to_numpy(value)), [ops.convert_to_numpy(g) for g in grads]
