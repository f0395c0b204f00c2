"""What ONNX's operators work on here: tensors of a Keras network, and constants.

ONNX holds images channels first, TensorFlow computes them channels last on a CPU. So a `Value` is a
tensor as ONNX means it, `(N, C, H, W)`, that may be held as `(N, H, W, C)`; operators that work on
images ask for the latter, and nothing is transposed between them.

The batch size is open in Keras, while ONNX computes with it: `Shape`, a few operators on integers,
`Reshape`. There it is the prime `BATCH`, so that a multiple of it is told from any size of an image.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

BATCH = 1_000_003
"""What stands for the batch size where shapes are computed; `k * BATCH` is k rows for each image."""
LARGEST = 2**28
"""Elements that a tensor may have, for one image; 1 GiB of float32."""
TO_LAST = {0: 0, 1: 3, 2: 1, 3: 2}
"""Where an axis of a tensor meant channels first lies in one held channels last."""
OPERATORS = {}
"""Functions by the kind of operator that they apply."""


class Value(NamedTuple):
    """A tensor of the network.

    `last`: of rank 4, meant channels first, held channels last. `rows`: how many rows for each image the
    open axis has, more than 1 where the batch was joined with another axis.
    """

    tensor: Any
    last: bool = False
    rows: int = 1

    @property
    def rank(self):
        """The number of axes, the batch included."""
        return len(self.tensor.shape)

    @property
    def sizes(self):
        """The sizes as ONNX means them, the open one a multiple of `BATCH`."""
        sizes = tuple(self.rows * BATCH if n is None else n for n in self.tensor.shape)
        return (sizes[0], sizes[3], *sizes[1:3]) if self.last else sizes

    def held(self, axis):
        """Return where an axis lies in the tensor."""
        return TO_LAST[axis] if self.last else axis


class Node(NamedTuple):
    """One operator of the graph.

    `inputs`: `Value`s, NumPy arrays, or None where left out. `images`: the network's input. `frozen`:
    whether the file's writer has set the batch size to 1.
    """

    kind: str
    name: str
    inputs: list
    attributes: dict
    results: int = 1
    images: Any = None
    frozen: bool = False

    def get(self, position):
        """Return an input, None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def option(self, name, position, default=None):
        """Return what is an attribute in old files and a constant input in new ones."""
        found = self.attributes.get(name, self.get(position))
        if isinstance(found, Value):
            raise ValueError(f"`{name}` is computed, not constant")
        return default if found is None else found

    def text(self, name, default):
        """Return an attribute that is text."""
        return self.attributes.get(name, default.encode()).decode()

    def feature(self, position=0):
        """Return an input that must depend on the images."""
        if not isinstance(self.get(position), Value):
            raise ValueError("a constant stands where a tensor of the images is expected")
        return self.inputs[position]

    def axis(self, default, rank, name="axis"):
        """Return the attribute `axis` as a number from 0."""
        return counted(self.attributes.get(name, default), rank)


def operator(*kinds):
    """Register a function `(Node) -> Value`, array or list of these for kinds of operators."""

    def register(function):
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def counted(axis, rank):
    """Return an axis, which may be counted from the end, as a number from 0."""
    axis = int(axis)
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} of {rank}")
    return axis % rank


def is_batch(size):
    """Whether a size is that of the batch, or of several rows for each image."""
    return size > 0 and size % BATCH == 0


def keep_batch(value, axes):
    """Refuse axes that are the batch's."""
    if any(is_batch(value.sizes[axis]) for axis in axes):
        raise ValueError("the batch must be left alone")


def held_last(value):
    """Return an image tensor held channels last."""
    if value.last:
        return value.tensor
    if value.rank != 4:
        raise ValueError(f"images are expected, not a tensor of shape {value.sizes[1:]}")
    return ops.transpose(value.tensor, (0, 2, 3, 1))


def plain(value):
    """Return a tensor held as ONNX means it."""
    return ops.transpose(value.tensor, (0, 3, 1, 2)) if value.last else value.tensor


def constant(array):
    """Return an input that must not depend on the images."""
    if not isinstance(array, np.ndarray):
        raise ValueError("its weights are computed, not constant")
    return array


def in_one_order(*operands):
    """Bring the operands of an elementwise operation into one order.

    Args:
        *operands: `Value`s, at least one, and arrays.

    Returns:
        `(operands, like)`: list of tensors and arrays, and a `Value` that the result takes after.
    """
    values = [v for v in operands if isinstance(v, Value)]
    rank = max([v.rank for v in values] + [np.ndim(v) for v in operands if not isinstance(v, Value)])
    last = any(v.last for v in values) and rank == 4 and all(v.rank == 4 for v in values)
    like = Value(None, last, max(v.rows for v in values))
    return [_ordered(v, last) for v in operands], like


def _ordered(operand, last):
    if isinstance(operand, Value):
        return held_last(operand) if last else plain(operand)
    operand = np.asarray(operand)
    if operand.dtype.kind == "f":
        operand = operand.astype("float32")
    if not last or operand.ndim == 0:
        return operand
    return operand.reshape((1,) * (4 - operand.ndim) + operand.shape).transpose(0, 2, 3, 1)
