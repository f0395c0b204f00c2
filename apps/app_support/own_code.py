"""Modules of the user's own: custom layers of networks, objectives registered by a name."""

import importlib
import os
import sys

from absl import flags


def define_flags():
    """Define the flags by which a user's own code is run."""
    flags.DEFINE_list(
        "import",
        [],
        "Modules to import first, with custom layers or objectives; found as by `python -m`.",
    )
    flags.DEFINE_bool(
        "trust",
        False,
        "Run what a network's file holds besides mathematics: Lambda layers, a TFSMLayer, operations of "
        "a SavedModel on files. Only if it is your own.",
    )


def asked_for():
    """Tell whether there is any."""
    return bool(flags.FLAGS["import"].value)


def look_here():
    """Let modules be found in the working directory, as `python -m` does."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def import_modules():
    """Import the modules of `--import` and make their layers and models known to Keras by name.

    Raises:
        ImportError: if there is no such module, or it imports what is missing.
    """
    names = flags.FLAGS["import"].value
    if not names:
        return
    import keras

    look_here()
    for name in names:
        module = importlib.import_module(name)
        for value in vars(module).values():
            is_layer = isinstance(value, type) and issubclass(value, keras.layers.Layer)
            if is_layer and value.__module__ == name:
                keras.saving.get_custom_objects()[value.__name__] = value
