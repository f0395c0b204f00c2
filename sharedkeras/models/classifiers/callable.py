"""Classifiers of which only the outputs are known."""

import keras
import numpy as np

from sharedkeras.models.adapted import adapted
from sharedkeras.models.classifiers.classifier import Classifier
from sharedkeras.models.classifiers.frozen import FrozenClassifier


class CallableClassifier:
    """Wraps a plain callable, such as an ONNX session or a web endpoint, for black-box attacks.

    Args:
        function: `function(x) -> logits` on NumPy arrays, `(batch, H, W, C)` to `(batch, K)`. What it
            tells by attributes `name`, `input_shape` and `num_classes`, as an exported file does, is
            checked and reported.

    Attributes: those of `Classifier`, and `function`.
    """

    white_box = False
    multiply_adds = 0
    random = False

    def __init__(self, function):
        self.function = function
        called = getattr(function, "__name__", type(function).__name__)
        self.name = getattr(function, "name", called)
        self.input_shape = getattr(function, "input_shape", None)
        self.num_classes = getattr(function, "num_classes", None)

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
        network: `keras.Model`, `Classifier` or a callable on arrays.
        select: str or int, which output to attack, where a Keras model has several.

    Returns:
        `Classifier`.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(network, FrozenClassifier | CallableClassifier):
        return network
    if isinstance(network, keras.Model):
        return FrozenClassifier(*adapted(network, select))
    if isinstance(network, Classifier):
        return network
    if callable(network):
        return CallableClassifier(network)
    raise TypeError(
        "`network` must be a keras.Model, or for black-box attacks a callable on NumPy arrays. "
        f"Received: network={network!r}"
    )
