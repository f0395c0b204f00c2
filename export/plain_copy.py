"""A network's copy in float32 and without loops: what is exported of it."""

import keras

_TYPES = ("float16", "bfloat16", "float64")
_POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}


def plain_copy(network):
    """Return the network, or a copy of it if it computes in another precision or in loops.

    Half precision is a matter of speed in training, and runtimes differ in what they support of it, so
    the copy computes in float32 throughout. Recurrent layers are unrolled, since images have a known
    length and a file without loops runs anywhere.

    Args:
        network: built functional `keras.Model`.

    Returns:
        `keras.Model` with the same weights.

    Raises:
        ValueError: if a layer cannot be made anew from its configuration.
    """
    if not any(_differs(layer) for layer in _layers(network)):
        return network
    kinds = {type(layer).__name__: type(layer) for layer in _layers(network)}
    try:
        config = _plain(network.get_config())
        copy = type(network).from_config(config, custom_objects=kinds)
        copy.set_weights(network.get_weights())
    except Exception as error:  # Whatever a layer's own code raises.
        raise ValueError(
            "The network computes in another precision than float32, or in loops, and cannot be copied "
            f"without: {error}. Received: network={network.name!r}"
        ) from error
    return copy


def _layers(layer):
    yield layer
    for inner in layer._layers:
        yield from _layers(inner)


def _differs(layer):
    policy = layer.dtype_policy
    types = {policy.compute_dtype, policy.variable_dtype}
    return bool(types & set(_TYPES)) or (isinstance(layer, keras.layers.RNN) and not layer.unroll)


def _plain(value):
    """Return a configuration in float32, unrolled."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if not isinstance(value, dict):
        return value
    if str(value.get("class_name", "")).endswith("DTypePolicy"):
        return _POLICY
    changed = {k: _plain(v) for k, v in value.items()}
    if changed.get("dtype") in (*_TYPES, "mixed_float16", "mixed_bfloat16"):
        changed["dtype"] = "float32"
    if changed.get("unroll") is False:
        changed["unroll"] = True
    return changed
