"""Classifiers that give outputs and nothing else."""

import keras
import numpy as np

from sharedkeras.models.adapted import adapted
from sharedkeras.models.classifiers.classifier import Classifier
from sharedkeras.models.classifiers.frozen import FrozenClassifier
from sharedkeras.models.layer_network import LayerNetwork

_NO_ARRAY = (
    "The network, a callable, must return logits as a NumPy array of shape (batch, K). Wrap it in a "
    "function that does: of a dict take the entry of the logits, of a torch tensor "
    "`tensor.detach().cpu().numpy()`. Received: an output of type"
)


def _kind(outputs):
    keys = f" with the keys {sorted(map(str, outputs))}" if isinstance(outputs, dict) else ""
    return f"{type(outputs).__module__}.{type(outputs).__qualname__}{keys}"


class CallableClassifier:
    """Wraps a plain callable, such as an ONNX session or a web endpoint, for black-box attacks.

    Args:
        function: `function(x) -> logits` on NumPy arrays, `(batch, H, W, C)` to `(batch, K)`. What it
            tells by attributes `name`, `input_shape`, `num_classes` and `sha256` (of all that it loads),
            as an exported file does, is checked and reported.

    Attributes: those of `Classifier`, `function`, and `sha256`, a str or None.
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
        self.sha256 = getattr(function, "sha256", None)
        self._columns = None

    @property
    def folded(self):
        """The classifier itself: a callable has no faster twin."""
        return self

    def predict(self, x):
        """Compute the logits of one batch.

        Args:
            x: `(batch, H, W, C)` array or tensor.

        Returns:
            `(batch, K)` array.

        Raises:
            ValueError: if the function returns anything but an array of numbers with a row for each
                image, always of as many classes.
        """
        # A copy, since functions may scale their images in place.
        outputs = self.function(np.array(x))
        try:
            logits = np.asarray(outputs)
            sound = logits.dtype.kind in "fiu"
        except Exception as error:  # Whatever a tensor of another framework raises.
            raise ValueError(f"{_NO_ARRAY} {_kind(outputs)}") from error
        if not sound:
            raise ValueError(f"{_NO_ARRAY} {_kind(outputs)}")
        self._check_shape(logits, len(x))
        return logits

    def _check_shape(self, logits, count):
        if logits.ndim != 2 or len(logits) != count:
            raise ValueError(
                f"The network must return logits of shape ({count}, classes) for {count} images. "
                f"Received: output of shape {logits.shape}"
            )
        if self._columns is None:
            self._columns = logits.shape[1]
        if logits.shape[1] != self._columns:
            raise ValueError(
                "The network must return logits of the same classes for every batch. "
                f"Received: {logits.shape[1]} classes after {self._columns}"
            )


def as_classifier(network, select=None):
    """Wrap a network the way attacks see it.

    Args:
        network: `keras.Model`, a built layer, `Classifier` or a callable on arrays.
        select: str or int, which output to attack, where a Keras model has several.

    Returns:
        `Classifier`.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it is a model or a layer that has no weights yet.
    """
    if isinstance(network, FrozenClassifier | CallableClassifier):
        return network
    if isinstance(network, keras.Model):
        return FrozenClassifier(*adapted(network, select))
    if isinstance(network, keras.layers.Layer):
        return FrozenClassifier(LayerNetwork(network), select)
    if any(kind.__module__.startswith("torch.") for kind in type(network).__mro__):
        raise TypeError(
            "`network` must be a keras.Model, or for black-box attacks a function from NumPy images "
            "(batch, H, W, C) to NumPy logits. Wrap a torch module in one: `lambda x: "
            "module(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().cpu().numpy()`. "
            f"Received: network of type {type(network).__module__}.{type(network).__qualname__}"
        )
    if isinstance(network, Classifier):
        return network
    if callable(network):
        return CallableClassifier(network)
    raise TypeError(
        "`network` must be a keras.Model, or for black-box attacks a callable on NumPy arrays. "
        f"Received: network={network!r}"
    )
