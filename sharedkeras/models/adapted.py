"""Networks of images and logits made from networks of nearly these."""

import keras
import numpy as np
from keras import layers

from sharedkeras.models.classifiers.functional import functional
from sharedkeras.models.classifiers.outputs import pick
from sharedkeras.models.logits_of import ends_in, logits_of


def adapted(network, select=None):
    """Return a network from images with channels to logits of all classes.

    - Images `(H, W)` without a channel axis: the same network behind a reshape from `(H, W, 1)`.
    - One unit behind a sigmoid, or one logit z: the two logits 0 and z of the classes 0 and 1.

    Args:
        network: `keras.Model`.
        select: str or int, which output, where there are several.

    Returns:
        `(network, select)`: as they were where there is nothing to change, or where the network's graph
        is not known.
    """
    if not network.built or len(getattr(network, "inputs", None) or ()) > 1:
        return network, select  # Who attacks the network refuses it.
    plain = functional(network)
    outputs = getattr(plain, "output", None)
    if outputs is None:
        return network, select
    outputs = _selected(outputs, select)
    shape, single = tuple(plain.inputs[0].shape[1:]), _is_single(outputs)
    flat = len(shape) == 2 and None not in shape
    if not flat and not single:
        return network, select
    if single:
        z = logits_of(plain, select).output if ends_in(outputs, ("sigmoid",)) else outputs
        both = layers.Dense(2, use_bias=False, trainable=False, name="two_logits")
        plain, select = keras.Model(plain.inputs[0], both(z), name=network.name), None
        both.set_weights([np.array([[0, 1]], "float32")])
    if flat:
        images = keras.Input((*shape, 1))
        plain = keras.Model(images, plain(layers.Reshape(shape)(images)), name=network.name)
    return plain, select


def _selected(outputs, select):
    """Return the output that `select` names, or all of them where it names none."""
    try:
        return pick(outputs, select)
    except ValueError:  # Who attacks the network says so.
        return outputs


def _is_single(outputs):
    return not isinstance(outputs, dict | list | tuple) and tuple(outputs.shape[1:]) == (1,)
