"""The PyTorch backend."""

import contextlib

import torch
from keras import ops, tree

COMPILED_LOOPS = True


MERGES_PASSES = False
"""Elementwise operations are passes of their own over the activations."""


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
    """Return the framework's name and version, for reports."""
    return f"torch {torch.__version__}"


def deterministic():
    """Make every operation return the same bits for the same input."""
    torch.use_deterministic_algorithms(True)


def value_and_grad(fn, x):
    """Compute a scalar function and its gradient with respect to its input.

    Args:
        fn: `fn(x) -> (scalar, aux)`.
        x: tensor of any shape.

    Returns:
        `((scalar, aux), gradient)`, detached, the gradient with the shape of `x`.
    """
    x = ops.convert_to_tensor(x).detach().requires_grad_(True)
    with torch.enable_grad():
        value, aux = fn(x)
        gradient = torch.autograd.grad(value, x, allow_unused=True)[0]
    detach = lambda t: t.detach() if isinstance(t, torch.Tensor) else t  # noqa: E731
    if gradient is None:
        gradient = torch.zeros_like(x)
    return (value.detach(), tree.map_structure(detach, aux)), gradient.detach()


def compile(fn):
    """Return `fn` itself: eager PyTorch needs no compilation."""
    return fn


def traced_once(fn):
    """Return `fn` as it is: nothing is traced."""
    return fn


def is_tracing(x=None):
    """Tell whether a graph is being traced; never the case in eager PyTorch."""
    return False


def repeat(steps, body, carry):
    """Run `carry = body(i, carry)` for `i` in `0 .. steps - 1`; see the TensorFlow backend."""
    for i in range(int(steps)):
        carry = body(ops.convert_to_tensor(i, dtype="int32"), carry)
    return carry


def devices():
    """List the devices over which batches may be spread; Keras's torch backend uses one."""
    return [None]


def accelerated():
    """Tell whether networks run on something faster than the CPU."""
    return torch.cuda.is_available()


def on(device):
    """Return a context that changes nothing: there is one device."""
    return contextlib.nullcontext()


def put(x, device):
    """Return a tensor as it is: there is one device."""
    return x


def barrier(x):
    """Return a tensor as it is, and keep a compiler from merging its making into its uses."""
    return x


def first_example(count):
    """Return 0: Keras's torch backend trains on one device."""
    return 0


def share_of_replica(loss):
    """Return the loss as it is: Keras's torch backend trains on one device."""
    return loss


class TrainStep:
    """Mixin for `keras.Model`: crafts the views, takes Keras's own train step, follows the weights."""

    def train_step(self, data):
        """Craft, then train; the weights' gradients never pass through the attack."""
        if self.awp_gamma:
            raise ValueError(
                "Weights are perturbed on the backends TensorFlow and JAX only. "
                f"Received: awp_gamma={self.awp_gamma}"
            )
        logs = super().train_step(self.craft(data))
        self.after_update()
        return logs

    def after_loss(self):
        """Do nothing: the weights have not been moved."""
