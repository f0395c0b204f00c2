"""Train, judge and ship adversarially robust image classifiers with Keras 3.

Importing `sharedkeras` loads no framework: each of its packages is imported at its first use. (Only
packages are lazy, never functions: a function that bears its module's name would be hidden by it.)
"""

import importlib

from sharedkeras import environment
from sharedkeras.version import __version__

environment.set_defaults()  # Before anything that loads TensorFlow.

__all__ = [
    "__version__",
    "attacks",
    "data",
    "durations",
    "evaluation",
    "files",
    "layers",
    "losses",
    "models",
    "objectives",
    "recipes",
    "training",
]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__():
    return sorted({*globals(), *__all__})
