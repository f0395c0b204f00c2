"""Networks in `.keras` archives, which may come from strangers."""

import errno
import pathlib
import shutil
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
            copy = pathlib.Path(folder) / "network.keras"
            config, stored = _copy_archive(path, copy)
            network = _load(copy, path, config, stored, trust)
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


def _load(copy, path, config, stored, trust):
    """Load the network of a copy whose HDF5 is sound."""
    tree = parse_json(
        config, where=path, what=f"the {_CONFIG} of a network", entries={"class_name": str}
    )
    custom = _custom_objects(tree)
    if not trust:
        refuse_code(tree, path)
        check_parameters(lambda: keras.models.model_from_json(config, custom_objects=custom), stored)
    network = keras.saving.load_model(copy, custom_objects=custom, compile=False, safe_mode=not trust)
    if not isinstance(network, keras.Model):
        raise ValueError(f"it holds a {type(network).__name__} instead.")
    return network


def _copy_archive(path, copy):
    """Copy an archive after checking it; return the configuration and the bytes of the weights."""
    # The checksum of a member is compared when it is read to its end.
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as ours:
        _check_members(archive.infolist())
        for info in archive.infolist():
            if info.filename == _STORE:
                theirs, sound = (copy.with_name(name) for name in ("theirs.h5", "sound.h5"))
                with archive.open(info) as member, open(theirs, "xb") as target:
                    shutil.copyfileobj(member, target)
                stored = copy_hdf5(theirs, sound, what=_STORE, where=path)
                ours.write(sound, _STORE)
            elif not info.is_dir():
                with archive.open(info) as member, ours.open(info.filename, "w") as target:
                    shutil.copyfileobj(member, target)
        return archive.read(_CONFIG).decode(), stored


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
