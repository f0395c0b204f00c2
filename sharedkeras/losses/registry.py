"""Attack losses by name."""

from sharedkeras.losses.cross_entropy import cross_entropy
from sharedkeras.losses.margin import dlr, margin, soft_margin

_LOSSES = {"ce": cross_entropy, "dlr": dlr, "margin": margin, "soft-margin": soft_margin}


def names():
    """List the names that `get` knows."""
    return sorted(_LOSSES)


def get(loss):
    """Find an attack's loss by name; a callable is returned as it is.

    Args:
        loss: "ce", "dlr", "margin", "soft-margin", or `loss(y, logits) -> (batch,)`.

    Returns:
        `loss(y, logits) -> (batch,)`.

    Raises:
        ValueError: if there is no such loss.
    """
    if callable(loss):
        return loss
    if loss not in _LOSSES:
        raise ValueError(f"Unknown loss; known are {names()}. Received: loss={loss!r}")
    return _LOSSES[loss]
