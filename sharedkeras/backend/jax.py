"""The JAX backend."""

import jax
import keras
from keras import ops

_UNROLL_LIMIT = 40
"""Steps up to which a loop on a CPU is unrolled; 20 steps of a small CNN compile in 7 s."""

COMPILED_LOOPS = jax.default_backend() != "cpu"
"""False on a CPU: XLA runs convolutions inside a loop three times slower than outside one."""


MERGES_PASSES = True
"""XLA computes elementwise operations together."""


GLOBAL_BATCHES = True
"""`keras.distribution` runs one program on the whole batch, over however many devices."""


def process():
    """Return `(number, count)` of this process among those that train together."""
    return jax.process_index(), jax.process_count()


def leave():
    """Part from the processes that trained together, so that none waits for another's later work."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def local(x):
    """Return a tensor that all devices hold as this process's first device holds it."""
    if isinstance(x, jax.core.Tracer) or len(x.sharding.device_set) == 1:
        return x
    return x.addressable_data(0)


def version():
    """Return the framework's name and version, for reports."""
    return f"jax {jax.__version__}"


def deterministic():
    """Do nothing on a CPU, where XLA is deterministic; kept so that callers need not ask."""


def value_and_grad(fn, x):
    """Compute a scalar function and its gradient with respect to its input.

    Args:
        fn: `fn(x) -> (scalar, aux)`.
        x: tensor of any shape, or a list of tensors.

    Returns:
        `((scalar, aux), gradient)`, the gradient with the shape of `x`.
    """
    return jax.value_and_grad(fn, has_aux=True)(keras.tree.map_structure(ops.convert_to_tensor, x))


def compile(fn):
    """Return `fn` as a graph, compiled once for each combination of shapes."""
    return jax.jit(fn)


def traced_once(fn):
    """Return an elementwise `fn` of tensors as a graph that others call, traced once for its shapes."""
    return jax.jit(fn)


def is_tracing(x=None):
    """Tell whether `x` belongs to a graph that is being traced."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves(x))


def repeat(steps, body, carry):
    """Run `carry = body(i, carry)` for `i` in `0 .. steps - 1`.

    On a CPU a short loop is unrolled, since XLA's CPU code for convolutions inside a loop is slow.

    Args:
        steps: int or scalar int32 tensor, at least 0.
        body: pure function `(i, carry) -> carry`; shapes and types of `carry` do not change.
        carry: nested structure of tensors.

    Returns:
        The last `carry`.
    """
    if not COMPILED_LOOPS and isinstance(steps, int) and steps <= _UNROLL_LIMIT:
        for i in range(steps):
            carry = body(ops.convert_to_tensor(i, dtype="int32"), carry)
        return carry
    return ops.fori_loop(0, steps, body, carry)


def devices():
    """List the devices over which batches may be spread: all of the default kind."""
    return jax.local_devices()


def accelerated():
    """Tell whether networks run on something faster than the CPU."""
    return jax.default_backend() != "cpu"


def on(device):
    """Return a context in which new tensors and functions live on a device of `devices()`."""
    return jax.default_device(device)


def put(x, device):
    """Copy a tensor to a device of `devices()`."""
    return jax.device_put(x, device)


def barrier(x):
    """Return a tensor as it is, and keep a compiler from merging its making into its uses."""
    return jax.lax.optimization_barrier(x)


def first_example(count):
    """Return 0: JAX traces the whole batch, over however many devices it is spread."""
    return 0


def share_of_replica(loss):
    """Return the loss as it is: JAX traces the whole batch."""
    return loss


class TrainStep:
    """Mixin for `keras.Model`: crafts the views, takes Keras's own train step, follows the weights."""

    def train_step(self, state, data):
        """Craft inside scopes over the state, train on the result, then let averages follow."""
        trainable, non_trainable, optimizer, metrics = state
        data, non_trainable = self._in_scope(trainable, non_trainable, lambda: self.craft(data))
        logs, state = super().train_step((trainable, non_trainable, optimizer, metrics), data)
        trainable, non_trainable, optimizer, metrics = state
        _, non_trainable = self._in_scope(trainable, non_trainable, self.after_update)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def compute_loss_and_updates(
        self, trainable_variables, non_trainable_variables, metrics_variables, x, y, *args, **options
    ):
        """Compute Keras's loss, in training at the weights where the gradient is to be taken.

        They differ from the weights by a constant, so that the gradient with respect to both is one.
        """
        if options.get("training") and self.awp_gamma:
            at = self.perturbed(
                x,
                y,
                trainable=trainable_variables,
                non_trainable=non_trainable_variables,
                optimizer=options["optimizer_variables"],
            )
            still = jax.lax.stop_gradient(trainable_variables)
            # Exactly `at`, and its gradient is passed on as it is.
            trainable_variables = [
                a + (v - s) for a, v, s in zip(at, trainable_variables, still, strict=True)
            ]
        return super().compute_loss_and_updates(
            trainable_variables, non_trainable_variables, metrics_variables, x, y, *args, **options
        )

    def after_loss(self):
        """Do nothing: the weights themselves have not been moved."""

    def _in_scope(self, trainable, non_trainable, fn):
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            result = fn()
        return result, [scope.get_current_value(v) for v in self.non_trainable_variables]
