"""How PGD makes a step of a gradient: values that its loop is given."""

import dataclasses

from keras import ops

from sharedkeras.arguments import need_between, plain
from sharedkeras.math import norms


class Step:
    """One way of choosing the direction of a step: a frozen dataclass with these two functions.

    A step keeps nothing to itself: what it needs from one iteration to the next is a structure of
    per-example tensors that the loop carries.

    Attributes:
        name: str, a field that is not given, so that reports tell which step it is.

    Example:
        >>> get("momentum")
        Momentum(decay=1.0)
    """

    name: str

    def begin(self, x):
        """Return what is remembered before the first step.

        Args:
            x: `(batch, H, W, C)` clean images.

        Returns:
            Nested structure of tensors; `()` for nothing.
        """
        return ()

    def direction(self, norm, gradient, memory):
        """Choose the direction of a step.

        Args:
            norm: `Norm`, in which the direction has unit size.
            gradient: `(batch, H, W, C)` of the loss that is to rise.
            memory: what `begin` or the step before returned.

        Returns:
            `(direction, memory)`: `(batch, H, W, C)`, and what is to be remembered.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steepest(Step):
    """Step in the direction in which the linearised loss rises the most.

    It is the gradient's sign in Linf, the normalised gradient in L2, its largest coordinate in L1.

    Reference: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
    """

    name: str = dataclasses.field(default="steepest", init=False, repr=False)

    def direction(self, norm, gradient, memory):
        """Return the norm's direction of the gradient."""
        return norm.direction(gradient), memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Momentum(Step):
    """Step along the sum of all gradients so far, which carries over small maxima (MI-FGSM).

        g <- decay g + gradient / |gradient|_1,  direction = that of g

    Args:
        decay: float from 0; with 0 the direction is that of `Steepest`.

    Raises:
        ValueError: if it is out of range.

    Reference: Y. Dong et al., "Boosting adversarial attacks with momentum", 2018.
    """

    decay: float = 1.0
    name: str = dataclasses.field(default="momentum", init=False, repr=False)

    def __post_init__(self):
        """Check the decay, and store it as Python's number."""
        need_between(0, None, decay=self.decay)
        object.__setattr__(self, "decay", plain(self.decay))

    def begin(self, x):
        """Return that there was no gradient yet."""
        return ops.zeros_like(x)

    def direction(self, norm, gradient, memory):
        """Return the norm's direction of the gradients' sum, and the sum."""
        size = norms.get("l1").size(gradient) + 1e-12  # Against division by a zero gradient.
        memory = self.decay * memory + gradient / norms.per_example(size, gradient)
        return norm.direction(memory), memory


_STEPS = {step.name: step for step in (Momentum(), Steepest())}


def names():
    """List the names that `get` knows."""
    return sorted(_STEPS)


def get(step):
    """Find a step by name; a `Step` is returned as it is.

    Args:
        step: one of `names()`, or a `Step`.

    Returns:
        `Step`.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(step, Step):
        return step
    if step not in _STEPS:
        raise ValueError(
            f"`step` must be one of {names()} or a `Step` of sharedkeras.attacks.steps. "
            f"Received: step={step!r}"
        )
    return _STEPS[step]
