"""What `keras.ops` lacks, for each framework; the only place (with `export`) that imports one.

Every backend module offers the same names:

- `value_and_grad(fn, x)`: value, auxiliary output and gradient of `fn` with respect to `x`.
- `TrainStep`: the mixin that calls `craft` before Keras's own train step and `after_update` after it,
  and takes the gradient at the weights that `perturbed` returns.
- `compile(fn)`: `fn` as a compiled graph.
- `traced_once(fn)`: an elementwise `fn` as a graph that other graphs call.
- `repeat(steps, body, carry)`: a loop inside a traced function.
- `MERGES_PASSES`: whether a compiler computes elementwise operations together.
- `COMPILED_LOOPS`: whether a loop inside a compiled function is as fast as its body.
- `barrier(x)`: `x`, not fused with what uses it.
- `is_tracing(x)`: whether `x` belongs to a graph being traced.
- `version()`: the framework's version string.
- `accelerated()`: whether networks run on something faster than the CPU.
- `devices()`, `on(device)`, `put(x, device)`: the devices of this machine, and placing work on one.
- `GLOBAL_BATCHES`: whether several devices compute on one batch, or each on a batch of its own.
- `process()`, `leave()`, `local(x)`: this one among the processes that train together, parting from
  them, and its own copy of what all devices hold.
- `first_example(count)`, `share_of_replica(loss)`: what a replica must know in distributed training.
- `deterministic()`: makes operations return the same bits each time.
"""

import keras

_NAME = keras.config.backend()

if _NAME == "tensorflow":
    from sharedkeras.backend.tensorflow import (
        COMPILED_LOOPS,
        GLOBAL_BATCHES,
        MERGES_PASSES,
        TrainStep,
        accelerated,
        barrier,
        compile,
        deterministic,
        devices,
        first_example,
        is_tracing,
        leave,
        local,
        on,
        process,
        put,
        repeat,
        share_of_replica,
        traced_once,
        value_and_grad,
        version,
    )
elif _NAME == "jax":
    from sharedkeras.backend.jax import (
        COMPILED_LOOPS,
        GLOBAL_BATCHES,
        MERGES_PASSES,
        TrainStep,
        accelerated,
        barrier,
        compile,
        deterministic,
        devices,
        first_example,
        is_tracing,
        leave,
        local,
        on,
        process,
        put,
        repeat,
        share_of_replica,
        traced_once,
        value_and_grad,
        version,
    )
elif _NAME == "torch":
    from sharedkeras.backend.torch import (
        COMPILED_LOOPS,
        GLOBAL_BATCHES,
        MERGES_PASSES,
        TrainStep,
        accelerated,
        barrier,
        compile,
        deterministic,
        devices,
        first_example,
        is_tracing,
        leave,
        local,
        on,
        process,
        put,
        repeat,
        share_of_replica,
        traced_once,
        value_and_grad,
        version,
    )
else:
    raise ImportError(
        "sharedkeras runs on the Keras backends tensorflow, jax and torch. "
        f"Received: KERAS_BACKEND={_NAME}"
    )

__all__ = [
    "COMPILED_LOOPS",
    "GLOBAL_BATCHES",
    "MERGES_PASSES",
    "TrainStep",
    "accelerated",
    "barrier",
    "compile",
    "deterministic",
    "devices",
    "first_example",
    "is_tracing",
    "leave",
    "local",
    "on",
    "process",
    "put",
    "repeat",
    "share_of_replica",
    "traced_once",
    "value_and_grad",
    "version",
]
