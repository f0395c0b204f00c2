"""Train, judge and ship adversarially robust image classifiers with Keras 3."""

from sharedkeras import (
    attacks,
    data,
    evaluation,
    layers,
    losses,
    models,
    objectives,
    recipes,
    training,
)
from sharedkeras.version import __version__

__all__ = [
    "__version__",
    "attacks",
    "data",
    "evaluation",
    "layers",
    "losses",
    "models",
    "objectives",
    "recipes",
    "training",
]
