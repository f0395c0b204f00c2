"""Objectives by name."""

from sharedkeras.objectives.gat import GAT
from sharedkeras.objectives.mart import MART
from sharedkeras.objectives.mma import MMA
from sharedkeras.objectives.mma_simplified import MMASimplified
from sharedkeras.objectives.shared_information import SharedInformation
from sharedkeras.objectives.standard import Standard
from sharedkeras.objectives.trades import TRADES

_OBJECTIVES = {
    "gat": GAT,
    "mart": MART,
    "mma": MMA,
    "mma-simplified": MMASimplified,
    "shared-information": SharedInformation,
    "standard": Standard,
    "trades": TRADES,
}


def register(name, objective):
    """Make an objective known by a name, to recipes and to the command line.

    Args:
        name: str, which is not taken.
        objective: class of objectives, as in `sharedkeras.objectives.objective`.

    Raises:
        ValueError: if the name is taken by another class.
    """
    if _OBJECTIVES.setdefault(name, objective) is not objective:
        raise ValueError(f"The name is taken by {_OBJECTIVES[name]}. Received: name={name!r}")


def names():
    """List the names that `get` knows."""
    return sorted(_OBJECTIVES)


def get(name):
    """Find an objective's class by its name.

    Args:
        name: one of `names()`.

    Returns:
        The class.

    Raises:
        ValueError: if there is no such objective.
    """
    if name not in _OBJECTIVES:
        raise ValueError(f"Unknown objective; known are {names()}. Received: name={name!r}")
    return _OBJECTIVES[name]
