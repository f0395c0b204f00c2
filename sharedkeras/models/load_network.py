"""Networks from files: a run directory, a `.keras` archive or an HDF5 file."""

import json
import pathlib
import zipfile

import h5py
import keras

from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.load_hdf5 import load_hdf5
from sharedkeras.models.refuse_code import refuse_code

_WEIGHTS = ("best", "last")


def load_network(source, *, weights="best", trust=False):
    """Load a network from a run directory or a file (`zoo.find` also knows the zoo's names).

    Args:
        source: path of a run directory, of a `.keras` file, or of an HDF5 file (`.h5`).
        weights: "best" (robust accuracy on the validation images) or "last"; for run directories.
        trust: bool, whether code in the file may run: a Lambda layer's. Only for files of one's own.

    Returns:
        `keras.Model` from images in [0, 1] to logits.

    Raises:
        FileNotFoundError: if nothing of that name exists.
        ValueError: if the file is damaged, or holds code and is not trusted.
    """
    if weights not in _WEIGHTS:
        raise ValueError(f"`weights` must be one of {_WEIGHTS}. Received: weights={weights!r}")
    path = pathlib.Path(source)
    if path.is_dir():
        path = path / f"{weights}.keras"
        if not path.exists():
            raise FileNotFoundError(
                f"The run has no {path.name}; has it finished an epoch? Received: source={source}"
            )
    if path.is_file() and h5py.is_hdf5(path):
        return load_hdf5(path, trust=trust)
    if path.is_file():
        return _load_file(path, trust)
    raise FileNotFoundError(f"No run directory and no .keras file. Received: source={source}")


def _load_file(path, trust):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"The file is no .keras archive, or it is damaged. Received: {path}")
    custom = {"GaussianStochastic": GaussianStochastic}
    try:
        if not trust:
            with zipfile.ZipFile(path) as archive:
                refuse_code(json.loads(archive.read("config.json")), path)
        return keras.saving.load_model(path, custom_objects=custom, compile=False, safe_mode=not trust)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise ValueError(f"The .keras file cannot be read: {error}. Received: {path}") from error
