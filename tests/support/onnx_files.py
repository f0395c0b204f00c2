"""Tiny ONNX classifiers, made without a framework: of this package's kind and of other origin."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.contract import DIGEST, INPUT, OUTPUTS, Contract, tied, to_properties
from export.onnx_file import digest_of


def weights(shape, classes=10):
    """Return the `(H, W, C, K)` weights of every network here."""
    return np.random.default_rng(0).normal(size=(*shape, classes)).astype("float32")


def logits(x, classes=10):
    """Compute what the networks compute: `(batch, H, W, C)` to `(batch, K)`."""
    return np.einsum("bhwc,hwck->bk", x, weights(x.shape[1:], classes)).astype("float32")


def write(
    path,
    shape,
    *,
    classes=10,
    channels_first=False,
    batch="n",
    declared=None,
    label_first=False,
    dtype=TensorProto.FLOAT,
):
    """Write a linear classifier as tools other than this package do.

    Args:
        path: of the file.
        shape: `(H, W, C)` of an image.
        classes: int.
        channels_first: bool, whether it takes `(batch, C, H, W)`.
        batch: str for any batch size, or an int.
        declared: sizes of an image to declare instead of the true ones.
        label_first: bool, whether its first output is the class as an integer.
        dtype: of its input; cast if it is not float32.
    """
    order = (2, 0, 1) if channels_first else (0, 1, 2)
    matrix = weights(shape, classes).transpose(*order, 3).reshape(-1, classes)
    given = [shape[i] for i in order] if declared is None else list(declared)
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])]
    if label_first:
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [batch]))
    inputs = [helper.make_tensor_value_info("x", dtype, [batch, *given])]
    _save(path, nodes, inputs, outputs, [numpy_helper.from_array(matrix, "matrix")])


def write_export(path, shape, *, class_names=None, classes=10, name="linear"):
    """Write a linear classifier as `export.onnx` does, contract and all.

    Args:
        path: of the file.
        shape: `(H, W, C)` of an image.
        class_names: sequence of str, or None.
        classes: int.
        name: str.
    """
    matrix = weights(shape, classes).reshape(-1, classes)
    nodes = [
        helper.make_node("Flatten", [INPUT], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], [OUTPUTS[0]]),
        helper.make_node("Softmax", [OUTPUTS[0]], [OUTPUTS[1]], axis=-1),
    ]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *shape])]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", classes]) for n in OUTPUTS]
    names = None if class_names is None else tuple(class_names)
    told = Contract(name, tuple(shape), classes, names).to_dict()
    _save(path, nodes, inputs, outputs, [numpy_helper.from_array(matrix, "matrix")], told)


def _save(path, nodes, inputs, outputs, constants, told=None):
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if told:
        told[DIGEST] = tied(digest_of(model.SerializeToString()), told)
        helper.set_model_props(model, to_properties(told))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
