"""ONNX's operators that multiply matrices: dense layers, attention, resizing."""

import numpy as np
from keras import layers, ops

from export.onnx_import.values import LARGEST, Value, constant, keep_batch, operator, plain


@operator("Gemm")
def _gemm(node):
    x, matrix, bias, at = node.feature(), constant(node.inputs[1]), node.get(2), node.attributes
    if at.get("transA", 0):
        raise ValueError("only the features of images times a constant matrix can be imported")
    matrix = at.get("alpha", 1.0) * (matrix.T if at.get("transB", 0) else matrix)
    if bias is not None:
        bias = at.get("beta", 1.0) * np.broadcast_to(constant(bias), (1, matrix.shape[1]))[0]
    return _dense(node, x, matrix, bias)


@operator("MatMul")
def _matmul(node):
    left, right = node.inputs
    if isinstance(left, Value) and isinstance(right, np.ndarray) and right.ndim == 2:
        return _dense(node, left, right, None)
    like = left if isinstance(left, Value) else right
    sides = [plain(v) if isinstance(v, Value) else v.astype("float32") for v in (left, right)]
    return like._replace(tensor=ops.matmul(*sides), last=False)


def _dense(node, x, matrix, bias):
    layer = layers.Dense(matrix.shape[1], use_bias=bias is not None, name=node.name)
    y = layer(plain(x))
    weights = [matrix] if bias is None else [matrix, bias]
    layer.set_weights([np.asarray(w, "float32") for w in weights])
    return x._replace(tensor=y, last=False)


@operator("Einsum")
def _einsum(node):
    like = next(v for v in node.inputs if isinstance(v, Value))
    operands = [plain(v) if isinstance(v, Value) else v.astype("float32") for v in node.inputs]
    equation = node.text("equation", "").replace(" ", "")
    return like._replace(tensor=ops.einsum(equation, *operands), last=False)


@operator("Resize", "Upsample")
def _resize(node):
    """Resize each axis by the matrix that onnxruntime applies to it, which holds for every mode."""
    x = node.feature()
    scales, sizes = _told(node, 2 if node.kind == "Resize" else 1), _told(node, 3)
    axes = node.attributes.get("axes", range(x.rank))
    tensor = x.tensor
    if node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise ValueError("sizes that keep the aspect ratio cannot be imported")
    for number, axis in enumerate(axes):
        size = x.sizes[axis]
        if sizes is not None:
            wanted = int(sizes[number])
            same = wanted == size
        else:
            same = scales[number] == 1
            wanted = int(np.floor(size * scales[number]))
        if same:
            continue
        keep_batch(x, [axis])
        if not 0 < wanted * size < LARGEST:
            raise ValueError(f"{size} places cannot become {wanted}")
        scale = None if sizes is not None else float(scales[number])
        tensor = _along(tensor, x.held(axis), _matrix(node, size, wanted, scale))
    return x._replace(tensor=tensor)


def _told(node, position):
    found = node.get(position)
    return None if found is None or not np.size(found) else constant(found)


def _matrix(node, size, wanted, scale):
    """Return the `(size, wanted)` matrix that resizes one axis."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    given = {k: v for k, v in node.attributes.items() if k not in ("axes", "antialias")}
    given["mode"] = given.get("mode", b"nearest")
    constants = [numpy_helper.from_array(np.zeros(0, "float32"), "roi")]
    if scale is None:
        constants.append(numpy_helper.from_array(np.array([1, size, wanted, 1], "int64"), "sizes"))
        inputs = ["x", "roi", "", "sizes"]
    else:
        constants.append(numpy_helper.from_array(np.array([1, 1, scale, 1], "float32"), "scales"))
        inputs = ["x", "roi", "scales"]
    if node.attributes.get("antialias", 0):
        given["antialias"] = 1
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **given)],
        "resize",
        [value("x", TensorProto.FLOAT, [1, size, size, 1])],
        [value("y", TensorProto.FLOAT, None)],
        constants,
    )
    opset = helper.make_opsetid("", 18 if "antialias" in given else 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    basis = np.eye(size, dtype="float32")[None, :, :, None]
    return session.run(None, {"x": basis})[0][0, :, :, 0]


def _along(tensor, axis, matrix):
    chosen = matrix.argmax(axis=0)
    if (matrix == (np.arange(len(matrix))[:, None] == chosen)).all():  # Each place is one of before.
        return ops.take(tensor, chosen.astype("int32"), axis=axis)
    letters = "abcdef"[: len(tensor.shape)]
    result = letters.replace(letters[axis], "z")
    return ops.einsum(f"{letters},{letters[axis]}z->{result}", tensor, matrix)
