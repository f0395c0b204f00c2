"""Networks that end in a softmax or a sigmoid, without it."""

import keras
from keras import layers

from sharedkeras.models.classifiers.functional import functional
from sharedkeras.models.classifiers.outputs import pick

_FINAL = ("softmax", "sigmoid")


def logits_of(network, select=None):
    """Return a network that gives the logits of one that ends in probabilities.

    Attacks follow gradients, and those of a softmax vanish where it is certain. Its inputs, the logits,
    name the same class.

    Args:
        network: functional or Sequential `keras.Model` whose last step is a softmax, or the sigmoid of a
            single unit: a layer, an operation, or the activation of a layer.
        select: str or int, which output, where there are several.

    Returns:
        `keras.Model` of the same name with one output. Layers are shared, but for one whose activation
        is taken off, which is copied with its weights as they are.

    Raises:
        ValueError: if the network's graph is not known or does not end in this way, or if it has several
            outputs and `select` names none of them.
    """
    plain = functional(network)
    outputs = getattr(plain, "output", None)
    if outputs is None:
        raise ValueError(
            "The graph of `network` is not known, as it is subclassed: leave the softmax out in its "
            f"`call`. Received: network={network.name!r}"
        )
    logits = _logits(pick(outputs, select), network.name)
    return keras.Model(plain.input, logits, name=network.name)


def ends_in(tensor, names=_FINAL):
    """Return whether a symbolic tensor is given by a softmax or sigmoid that `logits_of` takes off."""
    operation, _, index = tensor._keras_history
    if isinstance(operation, keras.Model):
        return ends_in(keras.tree.flatten(functional(operation).output)[index], names)
    return _function(operation) in names


def _function(operation):
    activation = getattr(operation, "activation", None)
    return (getattr(activation, "__name__", "") if activation else type(operation).__name__).lower()


def _logits(tensor, name):
    operation, node, index = tensor._keras_history
    given = operation._inbound_nodes[node].input_tensors
    if isinstance(operation, keras.Model):
        inner = functional(operation)
        logits = _logits(keras.tree.flatten(inner.output)[index], name)
        return keras.Model(inner.input, logits, name=operation.name)(*given)
    last = _function(operation)
    if last != ("sigmoid" if tensor.shape[-1] == 1 else "softmax"):
        raise ValueError(
            "`network` must end in a softmax, or in the sigmoid of a single unit. "
            f"Received: network={name!r}, whose last step is {last!r}"
        )
    if isinstance(operation, layers.Layer) and not isinstance(
        operation, layers.Activation | layers.Softmax
    ):
        twin = type(operation).from_config({**operation.get_config(), "activation": "linear"})
        logits = twin(*given)
        twin.set_weights(operation.get_weights())
        return logits
    return given[0]
