"""How PGD makes a step of a gradient: values that its loop is given."""

import dataclasses
from typing import Any


class Step:
    """One way of choosing the direction of a step: a frozen dataclass with these two functions.

    A step keeps nothing to itself: what it needs from one iteration to the next is a structure of
    per-example tensors that the loop carries.

    Attributes:
        name: str, a field that is not given, so that reports tell which step it is.
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

    def direction(self, norm, gradient, memory) -> tuple[Any, Any]:
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


_STEPS = {step.name: step for step in (Steepest(),)}


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
