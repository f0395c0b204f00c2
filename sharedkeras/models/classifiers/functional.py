"""Networks whose layers can be reached by name, whichever way they were written."""

import inspect

import keras


def functional(network):
    """Return a network that takes a tensor and tell its input and output; its layers are shared.

    A `keras.Sequential` has the same graph as a functional model, and yet knows neither `input` nor
    `output` until it has been called as a part of another model. A functional model may want its images
    in a list or a dict.

    Args:
        network: built `keras.Model` of one input.

    Returns:
        Functional `keras.Model` of the same graph; a subclassed network, whose graph is not known, as it
        is.
    """
    if isinstance(network, keras.Sequential):
        return keras.Model(network.inputs[0], _outputs(network), name=network.name)
    if isinstance(getattr(network, "input", None), dict | list | tuple):
        return keras.Model(network.inputs[0], network.output, name=network.name)
    return network


def _outputs(network):
    """Return what a Sequential network gives: a tensor, or a dict or list where its last layer does."""
    if len(network.outputs) == 1:
        return network.outputs[0]
    described = network.compute_output_spec(network.inputs[0])  # `outputs` is flat.
    return keras.tree.pack_sequence_as(described, network.outputs)


def inference(network):
    """Return the keyword arguments that call a network in inference mode.

    Args:
        network: `keras.Model`; the `call` of a subclassed one may take no `training`.

    Returns:
        Dict.
    """
    parameters = inspect.signature(network.call).parameters.values()
    takes = any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
    return {"training": False} if takes else {}


def last_dense(network):
    """Find the dense layer that gives a network's logits, and the features that it reads.

    Args:
        network: what `functional` returns.

    Returns:
        `(layer, features)`: a `keras.layers.Dense` and a symbolic tensor of the network's graph.

    Raises:
        ValueError: if the network's graph is not known, or does not end in a dense layer.
    """
    output = getattr(network, "output", None)  # A subclassed network has none.
    if not hasattr(output, "_keras_history"):
        raise ValueError(
            "`network` must be functional or Sequential, of one output. "
            f"Received: network={network.name!r} of type {type(network).__name__}"
        )
    last, node, _ = output._keras_history
    if not isinstance(last, keras.layers.Dense):
        raise ValueError(
            "`network` must end in a dense layer of logits. "
            f"Received: network={network.name!r}, whose last step is {type(last).__name__}"
        )
    (features,) = last._inbound_nodes[node].input_tensors
    return last, features
