"""The TensorFlow backend."""

import functools

import tensorflow as tf
from keras import ops

COMPILED_LOOPS = True


MERGES_PASSES = False
"""Elementwise operations are passes of their own over the activations."""


def version():
    """Return the framework's name and version, for reports."""
    return f"tensorflow {tf.__version__}"


def deterministic():
    """Make every operation return the same bits for the same input."""
    tf.config.experimental.enable_op_determinism()


def value_and_grad(fn, x):
    """Compute a scalar function and its gradient with respect to its input.

    Only `x` is watched: the tape records nothing for the weights, whose gradients no attack needs.

    Args:
        fn: `fn(x) -> (scalar, aux)`.
        x: tensor of any shape.

    Returns:
        `((scalar, aux), gradient)`, the gradient with the shape of `x`. Where the function does not
        depend on `x` the gradient is zero.
    """
    x = tf.convert_to_tensor(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value, aux = fn(x)
    gradient = tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return (value, aux), gradient


def compile(fn):
    """Return `fn` as a graph, traced once for each combination of shapes."""
    # The partial hides the code object by which TensorFlow counts retracing: closures made of the same
    # lines are different functions, and its warning about them would be false.
    return tf.function(functools.partial(fn), autograph=False)


def is_tracing(x=None):
    """Tells whether a graph is being traced at the moment."""
    return tf.inside_function()


def repeat(steps, body, carry):
    """Run `carry = body(i, carry)` for `i` in `0 .. steps - 1`.

    Args:
        steps: int or scalar int32 tensor, at least 0.
        body: pure function `(i, carry) -> carry`; shapes and types of `carry` do not change.
        carry: nested structure of tensors.

    Returns:
        The last `carry`.
    """
    return ops.fori_loop(0, steps, body, carry)


def devices():
    """List the devices over which batches may be spread: all GPUs, or else all logical CPUs."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def accelerated():
    """Tells whether networks run on something faster than the CPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def on(device):
    """Return a context in which new tensors and functions live on a device of `devices()`."""
    return tf.device(device)


def put(x, device):
    """Copy a tensor to a device of `devices()`."""
    with tf.device(device):
        return tf.identity(x)


def barrier(x):
    """Return a tensor as it is, and keep a compiler from merging its making into its uses."""
    return x


def first_example(count):
    """Return the number of this replica's first example within the batch of all replicas.

    Replicas have batches of one size; where a last batch leaves one with fewer, some numbers come twice.
    To ask the others would switch replicas in the middle of a network's call, while Keras keeps the
    losses of that call in layers that replicas share.

    Args:
        count: int or scalar int32 tensor, the replica's own examples.

    Returns:
        Scalar int32; 0 where there is one replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    return tf.cast(context.replica_id_in_sync_group, "int32") * count


def share_of_replica(loss):
    """Return the part of a mean loss that one replica adds, since gradients of replicas are summed."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync


class TrainStep:
    """Mixin for `keras.Model`: crafts the views, takes Keras's own train step, follows the weights."""

    def train_step(self, data):
        """Crafts, then trains; the weights' gradients never pass through the attack."""
        logs = super().train_step(self.craft(data))
        self.after_update()
        return logs
