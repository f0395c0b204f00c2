"""ONNX's operators as Keras layers: what `from_onnx` builds networks of."""

from export.onnx_import import (  # noqa: F401 (they register theirs)
    elementwise,
    matrices,
    selections,
    shapes,
    weighted,
)
from export.onnx_import.values import OPERATORS


def names():
    """List the operators that can be imported."""
    return sorted(OPERATORS)


def build(node):
    """Apply an operator.

    Args:
        node: `Node`.

    Returns:
        List of its results, each a `Value`, or a NumPy array where it does not depend on the images.

    Raises:
        ValueError: if this use of the operator cannot be imported.
    """
    found = OPERATORS[node.kind](node)
    return found if isinstance(found, list) else [found]
