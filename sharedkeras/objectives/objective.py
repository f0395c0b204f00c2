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
        variables: non-trainable Keras variables the objective keeps, in the checkpoint with the rest.
        layers: Keras layers the objective trains, such as an estimator's network.
    """

    terms: tuple
    taps: tuple
    variables: tuple
    layers: tuple

    def views(self, classifier: Any, x: Any, targets: Any, seed: Any) -> tuple:
        """Crafts what the network sees: `({"clean": x, "adv": x_adv}, targets)`."""
        ...

    def loss(self, targets: Any, outputs: Any, epoch: Any = None) -> dict:
        """Scores what came out: `{"loss": total, "<term>": ...}`, scalars; pure."""
        ...


def at_epoch(coefficient, epoch):
    """Evaluate a coefficient: a float stays, a schedule is asked for the epoch.

    Args:
        coefficient: float, or a callable of the epoch.
        epoch: scalar tensor or number; None means the end of the training.

    Returns:
        Scalar.
    """
    return coefficient(epoch) if callable(coefficient) else coefficient


def describe(objective):
    """Return an objective's configuration as a string, for configuration files and reports."""
    return repr(objective)
