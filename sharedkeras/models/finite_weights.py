"""Weights that can be computed with."""

import numpy as np
from keras import ops


def check_finite(network, path):
    """Refuse a network from a file whose weights are not finite.

    Args:
        network: `keras.Model`.
        path: of the file, for the message.

    Raises:
        ValueError: naming the weight.
    """
    for weight in network.weights:
        value = ops.convert_to_numpy(weight)
        if not np.isfinite(value).all():
            raise ValueError(
                f"The network's weights must be finite. Received: {np.sum(~np.isfinite(value)):,} of "
                f"{value.size:,} values of {weight.path} are not, path={path}"
            )
