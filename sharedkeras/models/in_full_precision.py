"""A network that computes in the precision of its weights, made of one that computes in half."""

import keras

_HALF = ("float16", "bfloat16")


def in_full_precision(network):
    """Return the network itself if no layer computes in half precision, else a twin that does not.

    A network trained in mixed precision keeps its weights in float32. What is judged and shipped
    should compute in float32 too: rounding hides small gradients from an attack, and other machines
    round differently.

    Args:
        network: `keras.Model`, functional.

    Returns:
        `keras.Model` with the weights as they are now, whose layers compute in the type of their
        weights.
    """
    if not any(layer.compute_dtype in _HALF for layer in network._flatten_layers()):
        return network
    twin = keras.models.clone_model(network, clone_function=_in_full, recursive=True)
    twin.set_weights(network.get_weights())
    return twin


def _in_full(layer):
    config = layer.get_config()
    # The input's type is that of the images, which stays.
    if layer.compute_dtype in _HALF and not isinstance(layer, keras.layers.InputLayer):
        config["dtype"] = layer.variable_dtype
    return type(layer).from_config(config)
