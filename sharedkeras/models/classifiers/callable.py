"""Classifiers of which only the outputs are known."""

import keras
import numpy as np

from sharedkeras.models.classifiers.frozen import FrozenClassifier


class CallableClassifier:
    """Wraps a plain callable, such as an ONNX session or a web endpoint, for black-box attacks.

    Args:
        function: `function(x) -> logits` on NumPy arrays, `(batch, H, W, C)` to `(batch, K)`.
    """

    def __init__(self, function):
        self.function = function

    @property
    def folded(self):
        """The classifier itself: of a callable there is no faster twin."""
        return self

    def predict(self, x):
        """Compute the logits of one batch, `(batch, K)`."""
        return np.asarray(self.function(np.asarray(x)))


def as_classifier(network, select=None):
    """Wrap a network the way attacks see it.

    Args:
        network: `keras.Model`, `FrozenClassifier`, `CallableClassifier` or a callable on arrays.
        select: str or int, which output to attack, where a Keras model has several.

    Returns:
        `FrozenClassifier` or `CallableClassifier`.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(network, FrozenClassifier | CallableClassifier):
        return network
    if isinstance(network, keras.Model):
        return FrozenClassifier(network, select)
    if callable(network):
        return CallableClassifier(network)
    raise TypeError(
        "`network` must be a keras.Model, or for black-box attacks a callable on NumPy arrays. "
        f"Received: network={network!r}"
    )
