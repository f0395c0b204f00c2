"""ONNX's operators as Keras layers: what `from_onnx` builds networks of."""

from export import onnx_elementwise, onnx_shapes, onnx_weighted  # noqa: F401 (they register theirs)
from export.onnx_nodes import OPERATORS


def names():
    """Lists the operators that can be imported."""
    return sorted(OPERATORS)


def build(node):
    """Applies an operator.

    Args:
        node: `Node`.

    Returns:
        List of its results, each a `Value`, or a NumPy array where it does not depend on the images.

    Raises:
        ValueError: if this use of the operator cannot be imported.
    """
    found = OPERATORS[node.kind](node)
    return found if isinstance(found, list) else [found]
