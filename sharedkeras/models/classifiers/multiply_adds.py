"""What a pass through a network costs, told from its layers."""

import math

from keras import Model, layers

from sharedkeras.models.classifiers.functional import functional

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)


def multiply_adds(network):
    """Count the multiplications with a weight in one image's forward pass.

    Convolutions and dense layers count, since they are nearly all of the work; what else there is counts
    as nothing, as does a layer whose output's shape is not known.

    Args:
        network: `keras.Model`.

    Returns:
        int; 0 for a network whose graph is not known.
    """
    total = 0
    for layer in network.layers:
        if isinstance(layer, Model):
            total += multiply_adds(functional(layer))
        elif type(layer) in (*_CONVOLUTIONS, layers.Dense):
            taps = math.prod(layer.kernel.shape[:-1])
            total += taps * sum(_numbers(node.outputs[0].shape[1:]) for node in layer._inbound_nodes)
    return total


def _numbers(shape):
    return 0 if None in shape else math.prod(shape)
