"""Weights of a trained network, for another one to begin with."""

from sharedkeras.layers import GaussianStochastic


def take_weights(network, source):
    """Copy the weights of a trained network into one of the same architecture.

    A robust network is a better start than random numbers, for more training, another objective or other
    classes. The head, which is the last layer with weights and a stochastic layer before it, may differ
    and then stays as it is: other classes have other logits.

    Args:
        network: built `keras.Model`; changed in place.
        source: built `keras.Model`.

    Returns:
        Tuple of str, the names of the layers of `network` that stay as they are.

    Raises:
        ValueError: if the layers before the head have weights of other shapes; nothing is changed then.
    """
    mine, theirs = _layers(network), _layers(source)
    pairs = []
    for here, there in zip(mine, theirs, strict=False):
        if _shapes(here) != _shapes(there):
            break
        pairs.append((here, there))
    alike = len(pairs)
    if alike < max(_body(mine), _body(theirs)):
        raise ValueError(
            "The initial weights are of another architecture: of the layers with weights number "
            f"{alike + 1} differs. Expected {_text(mine, alike)} as in network={network.name!r}. "
            f"Received: {_text(theirs, alike)} of {source.name!r}"
        )
    for here, there in pairs:
        here.set_weights(there.get_weights())
    return tuple(layer.name for layer in mine[alike:])


def _layers(network):
    """List the layers that have weights, from the image on."""
    return [layer for layer in network.layers if layer.weights]


def _shapes(layer):
    return [tuple(variable.shape) for variable in layer.weights]


def _body(layers):
    """Count the layers before the head."""
    count = max(len(layers) - 1, 0)
    stochastic = count > 0 and isinstance(layers[count - 1], GaussianStochastic)
    return count - 1 if stochastic else count


def _text(layers, number):
    if number >= len(layers):
        return "no further layer"
    layer = layers[number]
    return f"layer {layer.name!r} with weights {_shapes(layer)}"
