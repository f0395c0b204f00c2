"""What every objective offers to the trainer."""

import typing
from typing import Any


@typing.runtime_checkable
class Objective(typing.Protocol):
    """The contract between an objective and the trainer.

    Attributes:
        terms: names of the loss's terms, without `"loss"`; each is logged.
        taps: names of the layers whose activations the loss reads; each view's outputs have
            `"logits"` and one entry for each tap.
        ramped: names of fields that a run raises to their value by the paper's ramp.
        variables: non-trainable Keras variables the objective keeps, in the checkpoint with the rest.
        layers: Keras layers the objective trains, such as an estimator's network. An objective whose
            layers must know shapes leaves them unbuilt; the trainer then calls its `build(shapes)` with
            the shapes of a view's outputs, `{"logits": ..., "<tap>": ...}`.
    """

    terms: tuple
    taps: tuple
    ramped: tuple
    variables: tuple
    layers: tuple

    def views(self, classifier: Any, x: Any, targets: Any, seed: Any) -> tuple:
        """Craft what the network sees: `({"clean": x, "adv": x_adv}, targets)`."""
        ...

    def loss(self, targets: Any, outputs: Any, epoch: Any = None) -> dict:
        """Score what came out: `{"loss": total, "<term>": ...}`, scalars; pure."""
        ...


@typing.runtime_checkable
class SharesNoise(typing.Protocol):
    """What an objective has whose views go through a stochastic layer with the same noise.

    Attributes:
        same_noise: names of `GaussianStochastic` layers that draw once for all views.
    """

    same_noise: tuple


@typing.runtime_checkable
class MakesQueries(typing.Protocol):
    """What an objective has that asks the network beside its attack, so that a run's length is foreseen.

    Attributes:
        queries: int, forward passes an image and update, without the attack's and the loss's.
    """

    queries: int


def at_epoch(coefficient, epoch):
    """Evaluate a coefficient: a float stays, a schedule is asked for the epoch.

    Args:
        coefficient: float, or a callable of the epoch.
        epoch: scalar tensor or number; None means the end of the training.

    Returns:
        Scalar.
    """
    return coefficient(epoch) if callable(coefficient) else coefficient


def weighted(weight, term):
    """Multiply a term by its weight, a number or a scalar tensor.

    Args:
        weight: float or scalar tensor.
        term: scalar tensor.

    Returns:
        Scalar tensor; the number 0.0 for the number 0, so that a term that is switched off is in no
        gradient, were it infinite.
    """
    is_off = isinstance(weight, int | float) and weight == 0
    return 0.0 if is_off else weight * term


def need_aimable(objective):
    """Refuse an attack with a goal of its own, for an objective that gives it a loss to climb.

    Args:
        objective: an objective with a field `attack`.

    Raises:
        ValueError: if the attack takes no loss.
    """
    if not objective.attack.replaceable_loss:
        raise ValueError(
            f"{type(objective).__name__} aims its attack by a loss, and this attack has a goal of its "
            f"own. Received: attack={objective.attack!r}"
        )


def need_weights(objective, *names):
    """Refuse coefficients below 0 and a label smoothing outside [0, 1).

    Args:
        objective: an objective with a field `label_smoothing`.
        *names: fields that hold a float of at least 0 or a schedule of the epoch.

    Raises:
        ValueError: naming the first such field.
    """
    for name in names:
        value = getattr(objective, name)
        if not callable(value) and not value >= 0:
            raise ValueError(f"`{name}` must be at least 0. Received: {name}={value}")
    smoothing = objective.label_smoothing
    if not 0 <= smoothing < 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1). Received: label_smoothing={smoothing}")
