"""What ONNX's operators work on here: tensors of a Keras network, and constants.

ONNX holds images channels first, TensorFlow computes them channels last on a CPU. So a `Value` is a
tensor as ONNX means it, `(N, C, H, W)`, that may be held as `(N, H, W, C)`; operators that work on
images ask for the latter, and nothing is transposed between them.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import layers

TO_LAST = {0: 0, 1: 3, 2: 1, 3: 2}
"""Where an axis of a tensor meant channels first lies in one held channels last."""
OPERATORS = {}
"""Functions by the kind of operator that they apply."""


class Value(NamedTuple):
    """A tensor of the network; `last`: of rank 4, meant channels first, held channels last."""

    tensor: Any
    last: bool = False

    @property
    def shape(self):
        """The sizes as ONNX means them, without the batch."""
        sizes = tuple(self.tensor.shape)
        return (sizes[3], *sizes[1:3]) if self.last else sizes[1:]


class Node(NamedTuple):
    """One operator of the graph: its inputs are `Value`s, NumPy arrays, or None where left out."""

    kind: str
    name: str
    inputs: list
    attributes: dict
    results: int = 1

    def get(self, position):
        """Return an input, None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def option(self, name, position, default=None):
        """Return what is an attribute in old files and a constant input in new ones."""
        found = self.attributes.get(name, self.get(position))
        if isinstance(found, Value):
            raise ValueError(f"`{name}` is computed, not constant")
        return default if found is None else found


def operator(*kinds):
    """Register a function `(Node) -> Value`, array or list of these for kinds of operators."""

    def register(function):
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def held_last(value):
    """Return an image tensor held channels last."""
    if value.last:
        return value.tensor
    if len(value.tensor.shape) != 4:
        raise ValueError(f"images are expected, not a tensor of shape {value.shape}")
    return layers.Permute((2, 3, 1))(value.tensor)


def plain(value):
    """Return a tensor held as ONNX means it."""
    return layers.Permute((3, 1, 2))(value.tensor) if value.last else value.tensor


def constant(array):
    """Return an input that must not depend on the images."""
    if not isinstance(array, np.ndarray):
        raise ValueError("its weights are computed, not constant")
    return array
