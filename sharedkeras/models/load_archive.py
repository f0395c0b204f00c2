"""Networks in `.keras` archives, which may come from strangers."""

import json
import zipfile

import keras
import psutil

from sharedkeras.files import parse_json
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.count_parameters import count_parameters
from sharedkeras.models.finite_weights import check_finite
from sharedkeras.models.refuse_code import CodeError, refuse_code

_WHAT = "a network in a .keras archive"
_CONFIG, _STORE = "config.json", "model.weights.h5"
_LARGEST_CONFIG = 2**26
_LONG = 500  # Characters of another library's message.
_SMALLEST_WEIGHT = 2  # Bytes of a float16.


def load_archive(path, *, trust=False):
    """Load a network from a `.keras` archive, after checking all that it states.

    Args:
        path: `pathlib.Path` of the file.
        trust: bool, whether code in the file may run: a Lambda layer's.

    Returns:
        `keras.Model`, not compiled.

    Raises:
        ValueError: if the file is damaged, holds code, describes more parameters than it has weights,
            or weights that are not finite.
    """
    try:
        config, stored = _checked_archive(path)
        tree = json.loads(config)
        tree.pop("compile_config", None)  # Neither read nor run: the network is not compiled.
        custom = _custom_objects(tree)
        if not trust:
            refuse_code(tree, path)
            _check_size(tree, custom, stored)
        network = keras.saving.load_model(
            path, custom_objects=custom, compile=False, safe_mode=not trust
        )
        if not isinstance(network, keras.Model):
            raise ValueError(f"it holds a {type(network).__name__} instead.")
    except CodeError:
        raise
    # Keras and HDF5 promise no kinds of error for what a stranger may have written.
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        reason = reason if len(reason) <= _LONG else f"{reason[:_LONG]} ..."  # Keras adds whole layers.
        raise ValueError(
            f"Expected {_WHAT}, and it is damaged or another: {reason} Received: path={path}"
        ) from error
    check_finite(network, path)
    return network


def _checked_archive(path):
    """Return the configuration and the size of the weights, after checking the archive."""
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        sizes = {info.filename: info.file_size for info in infos}
        if len(sizes) != len(infos):
            raise ValueError("expected each member once.")
        if not {_CONFIG, _STORE} <= set(sizes):
            raise ValueError(f"expected {_CONFIG} and {_STORE}, and it holds {sorted(sizes)[:8]}.")
        total, memory = sum(sizes.values()), psutil.virtual_memory().total
        if total > memory or sizes[_CONFIG] > _LARGEST_CONFIG:
            raise ValueError(
                f"expected at most {_LARGEST_CONFIG:,} bytes of configuration and {memory:,} in all, "
                f"and it states {sizes[_CONFIG]:,} and {total:,}."
            )
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong.")
        config = archive.read(_CONFIG)
    parse_json(config, where=path, what=f"the {_CONFIG} of a network", entries={"class_name": str})
    return config.decode(), sizes[_STORE]


def _custom_objects(tree):
    """Return the objects that a configuration names and that are registered, by name."""
    found, left = {"GaussianStochastic": GaussianStochastic}, [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            for name in (value.get("class_name"), value.get("registered_name")):
                known = keras.saving.get_registered_object(name) if isinstance(name, str) else None
                if known is not None:
                    found[name] = known
            left += value.values()
        elif isinstance(value, list):
            left += value
    return found


def _uncompiled(value):
    """Return a configuration without optimizers, which Keras would make variables for at once."""
    if isinstance(value, dict):
        return {key: _uncompiled(entry) for key, entry in value.items() if key != "compile_config"}
    if isinstance(value, list):
        return [_uncompiled(entry) for entry in value]
    return value


def _check_size(tree, custom, stored):
    """Refuse a configuration of more parameters than there are weights, before memory is taken."""
    config = json.dumps(_uncompiled(tree))
    count = count_parameters(lambda: keras.models.model_from_json(config, custom_objects=custom))
    if count * _SMALLEST_WEIGHT > stored:
        raise ValueError(f"expected weights of {count:,} parameters, and they take {stored:,} bytes. ")
