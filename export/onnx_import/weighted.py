"""ONNX's operators with weights or windows: convolutions, pools, dense layers, normalisation."""

import math

import numpy as np
from keras import layers, ops

from export.onnx_import.values import Value, constant, held_last, operator, plain


def _with(layer, tensor, weights):
    result = layer(tensor)
    layer.set_weights([np.asarray(w, "float32") for w in weights])
    return result


def _window(node, kernel, sizes):
    """Return strides, dilations and `((top, bottom), (left, right))` of a convolution or a pool."""
    at = node.attributes
    strides, dilations = (tuple(at.get(k, (1, 1))) for k in ("strides", "dilations"))
    if len(kernel) != 2:
        raise ValueError(f"windows must have two axes, not {tuple(kernel)}")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    automatic = at.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        ways = zip(sizes, strides, reach, strict=True)
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in ways]
        less = [t // 2 for t in total]
        pads = [(a, t - a) for a, t in zip(less, total, strict=True)]
        pads = [p[::-1] for p in pads] if automatic == "SAME_LOWER" else pads
    else:
        top, left, bottom, right = at.get("pads", (0, 0, 0, 0))
        pads = [(top, bottom), (left, right)]
    if at.get("ceil_mode", 0):
        grown = []
        for (a, b), n, s, r in zip(pads, sizes, strides, reach, strict=True):
            count = -(-(n + a + b - r) // s) + 1
            count -= (count - 1) * s >= n + a  # A window that begins behind the image is left out.
            grown.append((a, b + max((count - 1) * s + r - (n + a + b), 0)))
        pads = grown
    return strides, dilations, tuple(pads)


def _pool_window(node, size, sizes):
    strides, dilations, pads = _window(node, size, sizes)
    if any(d != 1 for d in dilations):
        raise ValueError("dilated pools cannot be imported")
    return strides, pads


def _padded(x, pads, value=0.0):
    if not any(map(any, pads)):
        return x
    if value == 0.0:
        return layers.ZeroPadding2D(pads)(x)
    return ops.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


@operator("Conv")
def _conv(node):
    x, kernel = held_last(node.inputs[0]), constant(node.inputs[1])
    bias = node.get(2)
    strides, dilations, pads = _window(node, kernel.shape[2:], x.shape[1:3])
    x, groups, (filters, _, *size) = _padded(x, pads), node.attributes.get("group", 1), kernel.shape
    given = {"strides": strides, "dilation_rate": dilations, "use_bias": bias is not None}
    given["name"] = node.name
    if groups > 1 and groups == x.shape[-1]:
        layer = layers.DepthwiseConv2D(size, depth_multiplier=filters // groups, **given)
        kernel = kernel.reshape(groups, filters // groups, *size).transpose(2, 3, 0, 1)
    else:
        layer = layers.Conv2D(filters, size, groups=groups, **given)
        kernel = kernel.transpose(2, 3, 1, 0)
    return Value(_with(layer, x, [kernel] if bias is None else [kernel, constant(bias)]), last=True)


@operator("Gemm", "MatMul")
def _dense(node):
    x, matrix, bias = node.inputs[0], node.inputs[1], node.get(2)
    at = node.attributes
    if not isinstance(x, Value) or not isinstance(matrix, np.ndarray) or at.get("transA", 0):
        if node.kind == "Gemm":
            raise ValueError("only images' features times a constant matrix can be imported")
        sides = (plain(v) if isinstance(v, Value) else v for v in (x, matrix))
        return Value(ops.matmul(*sides))
    if matrix.ndim != 2:
        return Value(ops.matmul(plain(x), matrix))
    matrix = at.get("alpha", 1.0) * (matrix.T if at.get("transB", 0) else matrix)
    layer = layers.Dense(matrix.shape[1], use_bias=bias is not None, name=node.name)
    weights = [matrix]
    if bias is not None:
        weights.append(at.get("beta", 1.0) * np.broadcast_to(constant(bias), (1, matrix.shape[1]))[0])
    return Value(_with(layer, plain(x), weights))


@operator("BatchNormalization")
def _batch_normalization(node):
    x = node.inputs[0]
    tensor = held_last(x) if len(x.tensor.shape) == 4 else x.tensor
    layer = layers.BatchNormalization(epsilon=node.attributes.get("epsilon", 1e-5), name=node.name)
    return Value(_with(layer, tensor, map(constant, node.inputs[1:5])), len(tensor.shape) == 4)


@operator("MaxPool")
def _max_pool(node):
    size = node.attributes["kernel_shape"]
    x = held_last(node.inputs[0])
    strides, pads = _pool_window(node, size, x.shape[1:3])
    x = _padded(x, pads, -math.inf)
    return Value(layers.MaxPooling2D(size, strides, name=node.name)(x), last=True)


@operator("AveragePool")
def _average_pool(node):
    size = node.attributes["kernel_shape"]
    x = held_last(node.inputs[0])
    strides, pads = _pool_window(node, size, x.shape[1:3])
    inside = np.pad(np.ones(x.shape[1:3], "float32"), pads)
    if node.attributes.get("count_include_pad", 0):
        if node.attributes.get("ceil_mode", 0):
            raise ValueError("count_include_pad with ceil_mode cannot be imported")
        inside = np.ones_like(inside)
    windows = np.lib.stride_tricks.sliding_window_view(inside, tuple(size))
    share = windows[:: strides[0], :: strides[1]].mean(axis=(2, 3))[None, :, :, None]
    x = layers.AveragePooling2D(size, strides, name=node.name)(_padded(x, pads))
    return Value(x if (share == 1).all() else ops.divide(x, share), last=True)


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node):
    kind = layers.GlobalAveragePooling2D if "Average" in node.kind else layers.GlobalMaxPooling2D
    return Value(kind(keepdims=True, name=node.name)(held_last(node.inputs[0])), last=True)
