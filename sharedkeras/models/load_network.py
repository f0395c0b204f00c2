"""Networks from files: a run directory or a `.keras` archive."""

import pathlib
import zipfile

import keras

from sharedkeras.layers import GaussianStochastic

_WEIGHTS = ("best", "last")


def load_network(source, *, weights="best"):
    """Load a network from a run directory or a `.keras` file (`zoo.find` also knows the zoo's names).

    Args:
        source: path of a run directory or of a `.keras` file.
        weights: "best" (robust accuracy on the validation images) or "last"; for run directories.

    Returns:
        `keras.Model` from images in [0, 1] to logits.

    Raises:
        FileNotFoundError: if nothing of that name exists.
        ValueError: if the file is damaged.
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
    if path.is_file():
        return _load_file(path)
    raise FileNotFoundError(f"No run directory and no .keras file. Received: source={source}")


def _load_file(path):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"The file is no .keras archive, or it is damaged. Received: {path}")
    custom = {"GaussianStochastic": GaussianStochastic}
    try:
        return keras.saving.load_model(path, custom_objects=custom, compile=False)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise ValueError(f"The .keras file cannot be read: {error}. Received: {path}") from error
