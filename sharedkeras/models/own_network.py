"""Networks that a function of the user's own builds."""

import importlib

import keras

from sharedkeras.models.with_latent import with_latent


def own_network(source, *, input_shape, num_classes, latent_dim=None, latent_options=None):
    """Build a network by a function in a module.

    Args:
        source: str, `module:function`; the function takes `input_shape` and `num_classes` and returns a
            `keras.Model` from images in [0, 1] to logits.
        input_shape: tuple `(H, W, C)`.
        num_classes: int.
        latent_dim: int, units of the stochastic layer that is put before the last dense layer where the
            network has no layer called "latent", or None for none.
        latent_options: dict of arguments of `GaussianStochastic`, or None.

    Returns:
        `keras.Model`.

    Raises:
        ImportError: if there is no such module.
        ValueError: if it has no such function, or what that returns is no such network.
    """
    module, _, function = source.partition(":")
    try:
        build = vars(importlib.import_module(module))[function]
    except KeyError:
        raise ValueError(
            f"The module {module!r} must have the function {function!r}. Received: model={source!r}"
        ) from None
    network = build(input_shape=input_shape, num_classes=num_classes)
    if not isinstance(network, keras.Model):
        raise ValueError(f"{source} must return a keras.Model. Received: {type(network).__name__}")
    found = network.output_shape
    if not isinstance(found, tuple) or found[1:] != (num_classes,):
        raise ValueError(
            f"{source} must return a network of {num_classes} logits. Received: output of shape {found}"
        )
    if tuple(network.input_shape[1:]) != tuple(input_shape):
        raise ValueError(
            f"{source} must return a network of images {tuple(input_shape)}. "
            f"Received: input of shape {network.input_shape}"
        )
    if latent_dim is None or "latent" in {layer.name for layer in network.layers}:
        return network
    return with_latent(network, latent_dim, latent_options=latent_options)
