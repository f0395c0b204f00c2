"""Networks in `.keras` archives, which may come from strangers."""

import errno
import json
import pathlib
import tempfile
import zipfile

import keras
import psutil

from sharedkeras.files import copy_hdf5, parse_json
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.check_parameters import check_parameters
from sharedkeras.models.finite_weights import check_finite
from sharedkeras.models.refuse_code import CodeError, refuse_code

_WHAT = "a network in a .keras archive"
_CONFIG, _STORE = "config.json", "model.weights.h5"
_UNPACKED = "network"
_LARGEST_CONFIG = 2**26
_LONG = 500  # Characters of another library's message.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def load_archive(path, *, trust=False):
    """Load a network from a `.keras` archive, after checking all that it states.

    Args:
        path: `pathlib.Path` of the file.
        trust: bool, whether code in the file may run: a Lambda layer's.

    Returns:
        `keras.Model`, not compiled.

    Raises:
        OSError: if there is no room for a copy.
        ValueError: if the file is damaged, holds code, describes more parameters than it has weights,
            or weights that are not finite.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sharedkeras-") as folder:
            stored = _unpack(path, pathlib.Path(folder))
            network = _load(pathlib.Path(folder) / _UNPACKED, path, stored, trust)
    except CodeError:
        raise
    # Keras and HDF5 promise no kinds of error for what a stranger may have written.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        reason = str(error).strip() or type(error).__name__
        reason = reason if len(reason) <= _LONG else f"{reason[:_LONG]} ..."  # Keras adds whole layers.
        raise ValueError(
            f"Expected {_WHAT}, and it is damaged or another: {reason} Received: path={path}"
        ) from error
    check_finite(network, path)
    return network


def _unpack(path, folder):
    """Unpack an archive after checking it, as Keras reads a folder; return the bytes of the weights."""
    unpacked = folder / _UNPACKED
    unpacked.mkdir()
    # The checksum of a member is compared when its end is read.
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        _check_members(archive.infolist())
        for name in archive.namelist():
            if name in (_CONFIG, "metadata.json") or name.startswith("assets/"):
                archive.extract(name, unpacked)
        theirs = archive.extract(_STORE, folder)
    return copy_hdf5(theirs, unpacked / _STORE, what=_STORE, where=path)


def _load(unpacked, path, stored, trust):
    """Load the network of a folder whose HDF5 is sound."""
    config = (unpacked / _CONFIG).read_text("utf-8")
    what = f"the {_CONFIG} of a network"
    tree = parse_json(config, where=path, what=what, entries={"class_name": str})
    tree.pop("compile_config", None)  # Neither read nor run: the network is not compiled.
    custom = _custom_objects(tree)
    if not trust:
        refuse_code(tree, path)
        plain = json.dumps(_uncompiled(tree))
        check_parameters(lambda: keras.models.model_from_json(plain, custom_objects=custom), stored)
    network = keras.saving.load_model(
        unpacked, custom_objects=custom, compile=False, safe_mode=not trust
    )
    if not isinstance(network, keras.Model):
        raise ValueError(f"it holds a {type(network).__name__} instead.")
    return network


def _check_members(infos):
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
