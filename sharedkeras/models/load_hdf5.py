"""Networks in Keras's older HDF5 format, as files ending in `.h5` hold them."""

import pathlib
import tempfile

import h5py
import keras

from sharedkeras.files import copy_hdf5, parse_json
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.check_parameters import check_parameters
from sharedkeras.models.finite_weights import check_finite
from sharedkeras.models.refuse_code import refuse_code

_WHAT = "a network"


def load_hdf5(path, *, trust=False):
    """Load a network that Keras saved as HDF5.

    Args:
        path: `pathlib.Path` of an HDF5 file.
        trust: bool, whether code in the file may run: a Lambda layer's.

    Returns:
        `keras.Model`, not compiled.

    Raises:
        OSError: if there is no room for a copy.
        ValueError: if the file is damaged, holds weights only or such that are not finite, describes
            more parameters than it has weights, or code that is not trusted.
    """
    with tempfile.TemporaryDirectory(prefix="sharedkeras-") as folder:
        copy = pathlib.Path(folder) / "network.h5"
        stored = copy_hdf5(path, copy, what=_WHAT, where=path)
        with h5py.File(copy) as file:
            config = file.attrs.get("model_config")
        if not isinstance(config, str | bytes):
            raise ValueError(
                "The HDF5 file holds weights only. Expected a whole network, as `network.save(path)` "
                "writes it; better in Keras's newer format, ending in .keras. "
                f"Received: path={path}"
            )
        tree = parse_json(config, where=path, what="the configuration of a network")
        if not trust:
            refuse_code(tree, path)
        network = _load(copy, stored, path, trust)
    check_finite(network, path)
    return network


def _load(copy, stored, path, trust):
    def load():
        return keras.saving.load_model(
            copy,
            # Keras knows its own TFSMLayer in its newer format only.
            custom_objects={
                "GaussianStochastic": GaussianStochastic,
                "TFSMLayer": keras.layers.TFSMLayer,
            },
            compile=False,
            safe_mode=not trust,
        )

    try:
        if not trust:
            check_parameters(load, stored)
        return load()
    # Keras promises no kinds of error for what a stranger may have written.
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise ValueError(
            f"The HDF5 file cannot be read: {reason} Expected {_WHAT} that Keras saved; load it where "
            f"it was made and save it as .keras. Received: path={path}"
        ) from error
