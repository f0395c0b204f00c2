"""The paper's stochastic layer, put into a network that lacks it."""

import keras
from keras import layers

from sharedkeras.arguments import need_count, plain
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.classifiers.functional import functional, last_dense


def with_latent(network, units, *, latent_options=None, name="latent"):
    """Put a Gaussian stochastic layer before the last dense layer of a network.

    So any classifier can be trained with the shared-information objective. The last dense layer reads
    the latent instead of the features and is new; all other layers are those of the given network, with
    their weights, and are trained with the new one.

    Args:
        network: functional or Sequential `keras.Model` that ends in a dense layer of logits.
        units: int, latent dimensions, at least 1.
        latent_options: dict of arguments of `GaussianStochastic`, or None.
        name: str, the stochastic layer's name.

    Returns:
        `keras.Model` of the same name, from the same images to as many logits.

    Raises:
        ValueError: if the network's graph is not known, or does not end in a dense layer of logits that
            reads features `(batch, d)`.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        section 4.1.
    """
    need_count(units=units)
    whole = functional(network)
    last, features = last_dense(whole)
    if keras.activations.serialize(last.activation) != "linear":
        raise ValueError(
            "`network` must give logits; take the network that `sharedkeras.models.logits_of(network)` "
            f"returns. Received: network={network.name!r}, whose last layer ends in "
            f"{keras.activations.serialize(last.activation)!r}"
        )
    if len(features.shape) != 2:
        raise ValueError(
            "The last dense layer must read features (batch, d). "
            f"Received: network={network.name!r}, whose last layer reads {features.shape}"
        )
    latent = GaussianStochastic(plain(units), name=name, **(latent_options or {}))(features)
    head = layers.Dense.from_config(last.get_config())
    return keras.Model(whole.input, head(latent[0]), name=network.name)
