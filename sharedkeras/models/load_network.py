"""Networks from files: a run directory, a `.keras` archive or an HDF5 file."""

import pathlib

from sharedkeras.models.load_archive import load_archive
from sharedkeras.models.load_hdf5 import load_hdf5

_WEIGHTS = ("best", "last")
_HDF5 = b"\x89HDF\r\n\x1a\n"  # How such a file begins.


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
        ValueError: if the file is damaged, holds code, or weights that are not finite.
    """
    if weights not in _WEIGHTS:
        raise ValueError(f"`weights` must be one of {_WEIGHTS}. Received: weights={weights!r}")
    path = pathlib.Path(source)
    if path.is_dir():
        path = path / f"{weights}.keras"
        if not path.exists():
            raise FileNotFoundError(
                f"Expected {path.name} in the run; has it finished an epoch? Received: source={source}"
            )
    if path.is_file():
        load = load_hdf5 if _is_hdf5(path) else load_archive
        return load(path, trust=trust)
    raise FileNotFoundError(
        f"No such file. Expected a run directory, a .keras or an .h5 file. Received: source={source}"
    )


def _is_hdf5(path):
    """Tell by the first bytes: HDF5's own answer would read on."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except OSError as error:
        raise ValueError(
            f"Cannot be read: {error.strerror}. Expected a .keras or an .h5 file. Received: path={path}"
        ) from error
