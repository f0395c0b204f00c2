"""What can stand for the mutual information in the shared-information objective, by name."""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

from keras import ops

from sharedkeras.losses import MINE, hsic, mige
from sharedkeras.objectives.objective import weighted


class Estimator(typing.Protocol):
    """A measure of the dependence of two batches, as the shared-information objective uses it.

    Attributes:
        layers: Keras layers that it trains, created by `build`.
    """

    layers: tuple

    def build(self, shape: Any) -> None:
        """Create the layers' weights for representations of a shape `(None, d)`."""
        ...

    def measure(self, x: Any, y: Any, weight: Any) -> tuple:
        """Return what is logged, and what is subtracted from the loss: the weighted dependence."""
        ...


@dataclasses.dataclass(frozen=True)
class Function:
    """A measure that is a function of the two batches and has nothing to learn.

    Args:
        of: `of(x, y) -> scalar`.
    """

    of: Callable

    layers = ()

    def build(self, shape):
        """Do nothing."""

    def measure(self, x, y, weight):
        """Return the value, and the value times its weight."""
        value = self.of(x, y)
        return value, weighted(weight, value)


@dataclasses.dataclass(frozen=True)
class Slope:
    """A function whose gradient is that of the dependence, and whose value means nothing to the loss.

    Args:
        of: `of(x, y) -> scalar`. Its value is logged.
    """

    of: Callable

    layers = ()

    def build(self, shape):
        """Do nothing."""

    def measure(self, x, y, weight):
        """Return the value, and what has the weighted gradient and the value 0."""
        value = self.of(x, y)
        return value, weighted(weight, value - ops.stop_gradient(value))


@dataclasses.dataclass(frozen=True)
class Critic:
    """A measure with a network of its own, which always climbs the bound that it gives.

    The weight of the dependence scales only the gradient of the representations: a critic that learned
    at a thousandth of the rate would never know what they share. At weight 0 it still learns, and
    measures without any influence. Its own gradient is scaled by a pace, since at rate 0.1 with
    momentum, as residual networks train, the bound of latents rises past what the next batch supports
    and falls to 0 for good; an optimizer such as Adam does not see the pace.

    Args:
        layer: Keras layer, `layer(x, y, training=True) -> scalar`.
        pace: float above 0.
    """

    layer: Any
    pace: float = 0.03

    @property
    def layers(self):
        """The critic."""
        return (self.layer,)

    def build(self, shape):
        """Create the critic's weights."""
        self.layer.build(shape, shape)

    def measure(self, x, y, weight):
        """Return the bound, and what has its value times the weight and the gradients of both."""
        slowed = weight / self.pace
        value = self.layer(*(_slowed(v, slowed) for v in (x, y)), training=True)
        now = ops.stop_gradient(value)
        return now, weight * now + self.pace * (value - now)


def _slowed(x, weight):
    """Return the same values, with a gradient that is multiplied by the weight."""
    now = ops.stop_gradient(x)
    return now + weight * (x - now)


_ESTIMATORS = {
    "hsic": lambda objective: Function(functools.partial(hsic, neighbours=objective.neighbours)),
    "mige": lambda objective: Slope(mige),
    "mine": lambda objective: Critic(MINE()),
}


def register(name, make):
    """Make an estimator known by a name, to recipes and to the command line.

    Args:
        name: str, which is not taken. Its values are logged under it.
        make: `make(objective) -> Estimator`; reads what it needs of the objective's fields.

    Raises:
        ValueError: if the name is taken by another one.
    """
    if _ESTIMATORS.setdefault(name, make) is not make:
        raise ValueError(f"The name is taken. Received: name={name!r}")


def names():
    """List the names that `get` knows."""
    return sorted(_ESTIMATORS)


def get(name):
    """Find what makes an estimator.

    Args:
        name: one of `names()`.

    Returns:
        `make(objective) -> Estimator`.

    Raises:
        ValueError: if there is no such estimator.
    """
    if name not in _ESTIMATORS:
        raise ValueError(f"Unknown estimator; known are {names()}. Received: estimator={name!r}")
    return _ESTIMATORS[name]
