"""What a network computes besides its weights: layers, their settings, how they are joined."""

import hashlib
import pathlib
import types
import warnings

import keras
import numpy as np

from sharedkeras.evaluation.judging import identity

_OF_TRAINING = ("trainable", "compile_config", "build_config", "build_input_shape")
_OF_TRAINING_ENDS = ("_initializer", "_regularizer", "_constraint")


def architecture_digest(network):
    """Compute the SHA-256 of what a network computes, names of layers and weights aside.

    It covers the configuration of all layers and their connections, the code of layers and functions
    that are not Keras's or ours, and arrays that layers hold without declaring them as weights.

    Args:
        network: built `keras.Model`.

    Returns:
        Hexadecimal str.
    """
    graph, layers = _configuration(network), network._flatten_layers()
    # Where the network cannot tell how its layers are joined, at least each tells what it is.
    apart = [_configuration(layer) for layer in layers] if graph is None else None
    return identity.digest([graph, apart, [_layer(layer) for layer in layers]])


def _configuration(layer):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of lambdas, which would not be safe to load again.
            config = layer.get_config()
            return _plain({key: value for key, value in config.items() if key != "name"}, {})
    except Exception:  # Layers and networks of one's own need not be able to tell.
        return None


def _layer(layer):
    """Return what a layer does as far as its own code and attributes tell."""
    kinds = (types.FunctionType, types.MethodType, np.ndarray)
    if not identity.is_library(type(layer).__module__):
        kinds += (bool, int, float, str, tuple)
    held = {
        name: _known(value)
        for name, value in vars(layer).items()
        if isinstance(value, kinds)
        and not name.startswith("_")
        and not identity.is_library(getattr(value, "__module__", None))
    }
    held.pop("name", None)
    files = _files(layer.filepath) if isinstance(layer, keras.layers.TFSMLayer) else None
    return [identity.describe_class(type(layer)), sorted(held.items()), files]


def _known(value):
    try:
        return identity.describe(value)
    except identity.UnknownIdentity:
        return type(value).__name__


def _files(folder):
    known = hashlib.sha256()
    for path in sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file()):
        known.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        known.update(path.read_bytes())
    return known.hexdigest()


def _plain(value, numbers):
    """Return a configuration with positions for the names of layers, which a rebuilt network changes."""
    if isinstance(value, dict):
        return _plain_dict(value, numbers)
    if isinstance(value, list | tuple):
        return [_plain(entry, numbers) for entry in value]
    return _known(value)


def _plain_dict(config, numbers):
    if isinstance(config.get("layers"), list):
        names = [layer.get("name") for layer in config["layers"] if isinstance(layer, dict)]
        numbers = {name: number for number, name in enumerate(names)}
    if config.get("class_name") == "__lambda__":
        return "__lambda__"  # Its code is hashed with the layer; here it holds the path of its source.
    is_step = "inbound_nodes" in config
    is_named = is_step or "layers" in config
    plain = {}
    for key, value in config.items():
        if key in _OF_TRAINING or key.endswith(_OF_TRAINING_ENDS) or (key == "name" and is_named):
            continue
        if key == "config" and isinstance(value, dict) and (is_step or len(value) > 1):
            value = {k: v for k, v in value.items() if k != "name"}
        if key == "keras_history" and isinstance(value, list | tuple):
            value = [numbers.get(value[0], value[0]), *value[1:]]
        if key in ("input_layers", "output_layers"):
            value = _numbered(value, numbers)
        plain[str(key)] = _plain(value, numbers)
    return plain


def _numbered(value, numbers):
    """Return nested references `[name, node, tensor]` with the layers' positions."""
    if isinstance(value, dict):
        return {key: _numbered(entry, numbers) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(entry, numbers) for entry in value]
    return numbers.get(value, value)
