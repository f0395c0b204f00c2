"""Networks in Keras's older HDF5 format, as files ending in `.h5` hold them."""

import h5py
import keras

from sharedkeras.files import parse_json
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.finite_weights import check_finite
from sharedkeras.models.refuse_code import refuse_code


def load_hdf5(path, *, trust=False):
    """Load a network that Keras saved as HDF5.

    Args:
        path: `pathlib.Path` of an HDF5 file.
        trust: bool, whether code in the file may run: a Lambda layer's.

    Returns:
        `keras.Model`, not compiled.

    Raises:
        ValueError: if the file is damaged, holds weights only or such that are not finite, or code that
            is not trusted.
    """
    try:
        with h5py.File(path) as file:
            config = file.attrs.get("model_config")
    # HDF5 reports damage by whatever its call in Python raises.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(
            f"Expected a whole HDF5 file, and it is damaged: {error}. Received: path={path}"
        ) from error
    if config is None:
        raise ValueError(
            "The HDF5 file holds weights only. Expected a whole network, as `network.save(path)` writes "
            f"it; better in Keras's newer format, ending in .keras. Received: path={path}"
        )
    if not trust:
        refuse_code(parse_json(config, where=path, what="the configuration of a network"), path)
    # Keras knows its own TFSMLayer in its newer format only.
    custom = {"GaussianStochastic": GaussianStochastic, "TFSMLayer": keras.layers.TFSMLayer}
    try:
        network = keras.saving.load_model(
            path, custom_objects=custom, compile=False, safe_mode=not trust
        )
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"The HDF5 file cannot be read: {error}. Load it where it was made and save it as .keras. "
            f"Received: path={path}"
        ) from error
    check_finite(network, path)
    return network
