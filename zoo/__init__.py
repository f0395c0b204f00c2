"""Pretrained robust networks, each with a card that carries its evidence.

import zoo
network = zoo.load("mnist-cnn-shared")  # images in [0, 1] in, logits out

Importing this package imports no framework: cards are read without one.
"""

import importlib

from zoo.cards_index import card, check_source, names

# None of these bears its module's name, which would hide it once the module is imported.
_MODULES = {
    "find": "loading",
    "load": "loading",
    "publish": "publishing",
    "renew": "publishing",
    "verify": "verification",
}

__all__ = ["card", "check_source", "find", "load", "names", "publish", "renew", "verify"]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"zoo.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_MODULES})
