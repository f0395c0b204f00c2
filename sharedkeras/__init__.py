"""Train, judge and ship adversarially robust image classifiers with Keras 3."""

from sharedkeras import environment

environment.set_defaults()  # Before anything that loads TensorFlow.

from sharedkeras import (  # noqa: E402
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
from sharedkeras.version import __version__  # noqa: E402

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
