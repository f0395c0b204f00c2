"""The TensorFlow backend."""

import functools
import logging
import os
import platform
import sys

import tensorflow as tf
from keras import ops
from tensorflow.python.util import _pywrap_util_port

from sharedkeras.environment import ONEDNN

COMPILED_LOOPS = True


MERGES_PASSES = False
"""Elementwise operations are passes of their own over the activations."""


def onednn():
    """Tell whether TensorFlow computes with oneDNN, whose rounding and speed are its own."""
    return _pywrap_util_port.IsMklEnabled()


def _advise_onednn():
    """Say how to turn oneDNN on, where it could be and nobody has decided that it should not."""
    could_be = platform.machine().lower() in ("x86_64", "amd64") and sys.platform != "darwin"
    if could_be and not onednn() and ONEDNN not in os.environ:
        logging.getLogger("sharedkeras").warning(
            "TensorFlow was loaded before sharedkeras and has left oneDNN off on this CPU, which about "
            "doubles the time of attacks and training. Import sharedkeras first, or set the environment "
            "variable %s=1.",
            ONEDNN,
        )


_advise_onednn()


GLOBAL_BATCHES = False
"""Replicas see their own part of a batch."""


def process():
    """Return `(0, 1)`: one process trains."""
    return 0, 1


def leave():
    """Do nothing: one process trains."""


def local(x):
    """Return a tensor as it is: no other process holds a part of it."""
    return x


def version():
    """Return the framework's name, version and whether it computes with oneDNN, for reports."""
    return f"tensorflow {tf.__version__}, oneDNN {'on' if onednn() else 'off'}"


def deterministic():
    """Make every operation return the same bits for the same input."""
    tf.config.experimental.enable_op_determinism()


def value_and_grad(fn, x):
    """Compute a scalar function and its gradient with respect to its input.

    Only `x` is watched: the tape records nothing for the weights, whose gradients no attack needs.

    Args:
        fn: `fn(x) -> (scalar, aux)`.
        x: tensor of any shape, or a list of tensors.

    Returns:
        `((scalar, aux), gradient)`, the gradient with the shape of `x`. Where the function does not
        depend on `x` the gradient is zero.
    """
    x = tf.nest.map_structure(tf.convert_to_tensor, x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value, aux = fn(x)
    gradient = tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return (value, aux), gradient


def compile(fn):
    """Return `fn` as a graph, traced once for each combination of shapes."""
    graphs = {}

    def call(*args):
        # A `tf.function` for each: of one that meets many batch sizes TensorFlow would warn that it is
        # traced too often. The partial hides the code object by which it counts, so that closures made
        # of the same lines count as what they are, different functions.
        shapes = tuple(leaf.shape for leaf in tf.nest.flatten(args) if tf.is_tensor(leaf))
        if shapes not in graphs:
            graphs[shapes] = tf.function(functools.partial(fn), autograph=False)
        return graphs[shapes](*args)

    return call


def traced_once(fn):
    """Return an elementwise `fn` of tensors as a graph that other graphs call.

    Python takes a third of a millisecond for every operation that it puts into a graph. What is made of
    many and used in nearly every graph is traced for the first of them only, for tensors of any shape.

    Args:
        fn: pure function of tensors whose results all have the shape to which these broadcast.

    Returns:
        A function of the same tensors.
    """
    graphs = {}

    def call(*tensors):
        types = tuple(tensor.dtype for tensor in tensors)
        if types not in graphs:
            signature = [tf.TensorSpec(None, dtype) for dtype in types]
            graphs[types] = tf.function(fn, autograph=False, input_signature=signature)
        # The graph knows no shape.
        shape = functools.reduce(tf.broadcast_static_shape, (tensor.shape for tensor in tensors))
        return tf.nest.map_structure(lambda t: tf.ensure_shape(t, shape), graphs[types](*tensors))

    return call


def is_tracing(x=None):
    """Tell whether a graph is being traced at the moment."""
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
    """Tell whether networks run on something faster than the CPU."""
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


class _WithoutAutotuning:
    """A distribution strategy that turns tf.data's autotuning off in every data set that it is given.

    The thread that autotunes sleeps for 10 ms, 20 ms, 40 ms, ... and may miss that its iterator goes, so
    that the end of an epoch can wait for as long as the epoch took. All else is the strategy's own.

    Args:
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, strategy):
        self._strategy = strategy

    def __getattr__(self, name):
        return getattr(self._strategy, name)

    @property
    def __class__(self):
        # Keras asks for some classes of strategies.
        return type(self._strategy)

    def experimental_distribute_dataset(self, dataset, options=None):
        """Distribute a data set, which is then read as it says and not as a thread finds best."""
        autotune = tf.data.Options()
        autotune.autotune.enabled = False
        return self._strategy.experimental_distribute_dataset(dataset.with_options(autotune), options)


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

    @property
    def distribute_strategy(self):
        """The strategy that Keras hands every data set of `fit`, `evaluate` and `predict` to."""
        return _WithoutAutotuning(super().distribute_strategy)

    def train_step(self, data):
        """Craft, then train; the weights' gradients never pass through the attack."""
        views, targets = self.craft(data)
        if self.awp_gamma:
            self._move(views, targets)
        logs = super().train_step((views, targets))
        self.after_update()
        return logs

    def _move(self, views, targets):
        """Put the weights where the gradient is to be taken; `after_loss` puts them back."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                "Replicas would perturb the weights each in its own way. Train with `awp_gamma` on one "
                f"device, or on the JAX backend. Received: awp_gamma={self.awp_gamma}"
            )
        values = self.perturbed(
            views,
            targets,
            trainable=[tf.convert_to_tensor(v) for v in self.trainable_variables],
            non_trainable=[tf.convert_to_tensor(v) for v in self.non_trainable_variables],
            optimizer=[tf.convert_to_tensor(v) for v in self.optimizer.variables],
        )
        kept = [(v, tf.identity(tf.convert_to_tensor(v))) for v in self.trainable_variables]
        vars(self)["_put_back"] = kept  # Keras would track the variables of an attribute once more.
        for variable, value in zip(self.trainable_variables, values, strict=True):
            variable.assign(value)

    def after_loss(self):
        """Give the weights back the values that the optimizer updates.

        The loss has been computed from what was read before, and so will its gradient be.
        """
        for variable, value in vars(self).pop("_put_back", ()):
            variable.assign(value)
