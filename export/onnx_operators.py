"""ONNX operators as Keras layers: what `from_onnx` builds networks of.

ONNX holds images channels first, TensorFlow computes them channels last on a CPU. So a `Value` is a
tensor as ONNX means it, `(N, C, H, W)`, that may be held as `(N, H, W, C)`; operators that work on
images ask for the latter, and nothing is transposed between them.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from keras import layers, ops

_TO_LAST = {0: 0, 1: 3, 2: 1, 3: 2}
_OPERATORS = {}


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
        """Returns an input, None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def option(self, name, position, default=None):
        """Returns what is an attribute in old files and a constant input in new ones."""
        found = self.attributes.get(name, self.get(position))
        if isinstance(found, Value):
            raise ValueError(f"`{name}` is computed, not constant")
        return default if found is None else found


def names():
    """Lists the operators that can be imported."""
    return sorted(_OPERATORS)


def build(node):
    """Applies an operator.

    Args:
        node: `Node`.

    Returns:
        List of its results, each a `Value`, or a NumPy array where it does not depend on the images.

    Raises:
        ValueError: if this use of the operator cannot be imported.
    """
    found = _OPERATORS[node.kind](node)
    return found if isinstance(found, list) else [found]


def _operator(*kinds):
    def register(function):
        _OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def _last(value):
    """Returns an image tensor held channels last."""
    if value.last:
        return value.tensor
    if len(value.tensor.shape) != 4:
        raise ValueError(f"images are expected, not a tensor of shape {value.shape}")
    return layers.Permute((2, 3, 1))(value.tensor)


def plain(value):
    """Returns a tensor held as ONNX means it."""
    return layers.Permute((3, 1, 2))(value.tensor) if value.last else value.tensor


def _constant(array):
    if not isinstance(array, np.ndarray):
        raise ValueError("its weights are computed, not constant")
    return array


def _with(layer, tensor, weights):
    result = layer(tensor)
    layer.set_weights([np.asarray(w, "float32") for w in weights])
    return result


def _window(node, kernel, sizes):
    """Returns strides, dilations and `((top, bottom), (left, right))` of a convolution or a pool."""
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


def _padded(x, pads, value=0.0):
    if not any(map(any, pads)):
        return x
    if value == 0.0:
        return layers.ZeroPadding2D(pads)(x)
    return ops.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


@_operator("Conv")
def _conv(node):
    x, kernel = _last(node.inputs[0]), _constant(node.inputs[1])
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
    return Value(_with(layer, x, [kernel] if bias is None else [kernel, _constant(bias)]), last=True)


@_operator("Gemm", "MatMul")
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
        weights.append(at.get("beta", 1.0) * np.broadcast_to(_constant(bias), (1, matrix.shape[1]))[0])
    return Value(_with(layer, plain(x), weights))


@_operator("BatchNormalization")
def _batch_normalization(node):
    x = node.inputs[0]
    tensor = _last(x) if len(x.tensor.shape) == 4 else x.tensor
    layer = layers.BatchNormalization(epsilon=node.attributes.get("epsilon", 1e-5), name=node.name)
    return Value(_with(layer, tensor, map(_constant, node.inputs[1:5])), len(tensor.shape) == 4)


@_operator("MaxPool")
def _max_pool(node):
    size = node.attributes["kernel_shape"]
    x = _last(node.inputs[0])
    strides, dilations, pads = _window(node, size, x.shape[1:3])
    if any(d != 1 for d in dilations):
        raise ValueError("dilated pools cannot be imported")
    x = _padded(x, pads, -math.inf)
    return Value(layers.MaxPooling2D(size, strides, name=node.name)(x), last=True)


@_operator("AveragePool")
def _average_pool(node):
    size = node.attributes["kernel_shape"]
    x = _last(node.inputs[0])
    strides, dilations, pads = _window(node, size, x.shape[1:3])
    if any(d != 1 for d in dilations):
        raise ValueError("dilated pools cannot be imported")
    inside = np.pad(np.ones(x.shape[1:3], "float32"), pads)
    if node.attributes.get("count_include_pad", 0):
        if node.attributes.get("ceil_mode", 0):
            raise ValueError("count_include_pad with ceil_mode cannot be imported")
        inside = np.ones_like(inside)
    windows = np.lib.stride_tricks.sliding_window_view(inside, tuple(size))
    share = windows[:: strides[0], :: strides[1]].mean(axis=(2, 3))[None, :, :, None]
    x = layers.AveragePooling2D(size, strides, name=node.name)(_padded(x, pads))
    return Value(x if (share == 1).all() else ops.divide(x, share), last=True)


@_operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node):
    kind = layers.GlobalAveragePooling2D if "Average" in node.kind else layers.GlobalMaxPooling2D
    return Value(kind(keepdims=True, name=node.name)(_last(node.inputs[0])), last=True)


@_operator("ReduceMean", "ReduceSum", "ReduceMax")
def _reduce(node):
    x = node.inputs[0]
    rank = len(x.tensor.shape)
    axes = [int(a) % rank for a in node.option("axes", 1, default=range(rank))]
    keep = bool(node.attributes.get("keepdims", 1))
    if 0 in axes:
        raise ValueError("the batch must not be reduced")
    function = {"ReduceMean": ops.mean, "ReduceSum": ops.sum, "ReduceMax": ops.max}[node.kind]
    if x.last and (keep or sorted(axes) == [2, 3]):  # What is left then has the right order.
        return Value(function(x.tensor, axis=tuple(_TO_LAST[a] for a in axes), keepdims=keep), keep)
    return Value(function(plain(x), axis=tuple(axes), keepdims=keep))


_ACTIVATIONS = {
    "Relu": lambda at: layers.ReLU(),
    "LeakyRelu": lambda at: layers.LeakyReLU(negative_slope=at.get("alpha", 0.01)),
    "Elu": lambda at: layers.ELU(alpha=at.get("alpha", 1.0)),
    "Sigmoid": lambda at: layers.Activation("sigmoid"),
    "Tanh": lambda at: layers.Activation("tanh"),
    "Softplus": lambda at: layers.Activation("softplus"),
    "Softsign": lambda at: layers.Activation("softsign"),
    "Gelu": lambda at: lambda x: ops.gelu(x, approximate=at.get("approximate", b"none") == b"tanh"),
    "HardSigmoid": lambda at: (
        lambda x: ops.clip(at.get("alpha", 0.2) * x + at.get("beta", 0.5), 0.0, 1.0)
    ),
    "HardSwish": lambda at: lambda x: x * ops.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Exp": lambda at: ops.exp,
    "Log": lambda at: ops.log,
    "Sqrt": lambda at: ops.sqrt,
    "Erf": lambda at: ops.erf,
    "Abs": lambda at: ops.abs,
    "Neg": lambda at: ops.negative,
    "Reciprocal": lambda at: ops.reciprocal,
    "Floor": lambda at: ops.floor,
    "Ceil": lambda at: ops.ceil,
    "Round": lambda at: ops.round,
    "Sign": lambda at: ops.sign,
}


@_operator(*_ACTIVATIONS)
def _activation(node):
    x = node.inputs[0]
    return Value(_ACTIVATIONS[node.kind](node.attributes)(x.tensor), x.last)


@_operator("Softmax", "LogSoftmax")
def _softmax(node):
    x = node.inputs[0]
    rank = len(x.tensor.shape)
    axis = node.attributes.get("axis", -1) % rank
    function = ops.softmax if node.kind == "Softmax" else ops.log_softmax
    return Value(function(x.tensor, axis=_TO_LAST[axis] if x.last else axis), x.last)


@_operator("Clip")
def _clip(node):
    low, high = node.option("min", 1, -math.inf), node.option("max", 2, math.inf)
    return Value(ops.clip(node.inputs[0].tensor, float(low), float(high)), node.inputs[0].last)


def _together(a, b):
    """Returns two operands of an elementwise operation in one order, and whether it is channels last."""
    if isinstance(a, Value) and isinstance(b, Value):
        if a.last == b.last:
            return a.tensor, b.tensor, a.last
        if len(a.tensor.shape) == len(b.tensor.shape) == 4:
            return _last(a), _last(b), True
        return plain(a), plain(b), False
    if isinstance(a, Value):
        return a.tensor, _ordered(b, a), a.last
    return _ordered(a, b), b.tensor, b.last


def _ordered(constant, like):
    if not like.last or constant.ndim == 0:
        return constant
    if constant.ndim > 4:
        raise ValueError(f"a constant of shape {constant.shape} does not fit images")
    return constant.reshape((1,) * (4 - constant.ndim) + constant.shape).transpose(0, 2, 3, 1)


@_operator("PRelu")
def _prelu(node):
    x, slope, last = _together(*node.inputs)
    return Value(ops.maximum(x, 0.0) + ops.multiply(ops.minimum(x, 0.0), slope), last)


_BINARY = {
    "Add": ops.add,
    "Sub": ops.subtract,
    "Mul": ops.multiply,
    "Div": ops.divide,
    "Pow": ops.power,
    "Sum": ops.add,
    "Min": ops.minimum,
    "Max": ops.maximum,
}


@_operator(*_BINARY)
def _binary(node):
    result, *rest = node.inputs
    for operand in rest:
        a, b, last = _together(result, operand)
        result = Value(_BINARY[node.kind](a, b), last)
    return result


@_operator("Identity", "Dropout", "Cast")
def _pass(node):
    if node.kind == "Cast" and node.attributes["to"] not in (1, 10, 11, 16):
        raise ValueError("features can be cast to float types only")
    return node.inputs[0]


@_operator("Shape")
def _shape(node):
    # In a shape to come 0 means: as many as there are, which holds for the batch.
    return np.array([0, *node.inputs[0].shape])


@_operator("Flatten")
def _flatten(node):
    if node.attributes.get("axis", 1) != 1:
        raise ValueError("only what leaves the batch alone can be imported")
    x = node.inputs[0]
    whole = x.last and x.shape[1:] == (1, 1)  # Both orders are the same then.
    return Value(layers.Flatten(name=node.name)(x.tensor if whole else plain(x)))


@_operator("Reshape")
def _reshape(node):
    x, (first, *rest) = node.inputs[0], (int(n) for n in _constant(node.inputs[1]))
    rest = [x.shape[i] if n == 0 else n for i, n in enumerate(rest)]
    size = math.prod(x.shape)
    if first != 0 and -1 not in rest and math.prod(rest) != size:
        raise ValueError(f"{x.shape} becomes {(first, *rest)}, which does not leave the batch alone")
    known = math.prod(n for n in rest if n != -1)
    rest = [size // known if n == -1 else n for n in rest]
    whole = x.last and x.shape[1:] == (1, 1) and len(rest) == 1
    return Value(layers.Reshape(rest, name=node.name)(x.tensor if whole else plain(x)))


@_operator("Transpose")
def _transpose(node):
    x = node.inputs[0]
    order = tuple(node.attributes.get("perm", range(len(x.tensor.shape))[::-1]))
    if order == (0, 3, 1, 2) and not x.last:
        return Value(x.tensor, last=True)
    if order == (0, 2, 3, 1) and x.last:
        return Value(x.tensor)
    if order[0] != 0:
        raise ValueError("the batch must stay the first axis")
    return Value(layers.Permute(order[1:])(plain(x)))


@_operator("Concat")
def _concat(node):
    if not all(isinstance(x, Value) for x in node.inputs):
        raise ValueError("features and constants cannot be joined")
    rank = len(node.inputs[0].tensor.shape)
    axis = node.attributes["axis"] % rank
    if rank == 4:
        joined = layers.Concatenate(_TO_LAST[axis], name=node.name)([_last(x) for x in node.inputs])
        return Value(joined, last=True)
    return Value(layers.Concatenate(axis, name=node.name)([x.tensor for x in node.inputs]))


@_operator("Pad")
def _pad(node):
    x, mode = node.inputs[0], node.attributes.get("mode", b"constant").decode()
    pads, value = node.option("pads", 1), node.option("value", 2, 0.0)
    if mode not in ("constant", "reflect") or node.get(3) is not None:
        raise ValueError(f"padding of mode {mode!r} or of chosen axes cannot be imported")
    pads = np.reshape(pads, (2, -1)).T
    if x.last:
        pads = pads[[0, 2, 3, 1]]
    constant = {"constant_values": float(value)} if mode == "constant" else {}
    return Value(ops.pad(x.tensor, tuple(map(tuple, pads.tolist())), mode=mode, **constant), x.last)


@_operator("Squeeze", "Unsqueeze")
def _squeeze(node):
    x, axes = node.inputs[0], node.option("axes", 1)
    if axes is None:
        raise ValueError("the axes must be named")
    grown = len(x.tensor.shape) + (len(axes) if node.kind == "Unsqueeze" else 0)
    axes = sorted(int(a) % grown for a in axes)
    if 0 in axes:
        raise ValueError("the batch must stay the first axis")
    tensor = plain(x)
    if node.kind == "Squeeze":
        return Value(ops.squeeze(tensor, axis=tuple(axes)))
    for axis in axes:
        tensor = ops.expand_dims(tensor, axis)
    return Value(tensor)


@_operator("Gather")
def _gather(node):
    x, chosen = node.inputs[0], _constant(node.inputs[1])
    axis = node.attributes.get("axis", 0) % len(x.tensor.shape)
    if axis == 0:
        raise ValueError("the batch must be left alone")
    if x.last and chosen.ndim == 1:
        return Value(ops.take(x.tensor, chosen, axis=_TO_LAST[axis]), last=True)
    return Value(ops.take(plain(x), chosen, axis=axis))


@_operator("Slice")
def _slice(node):
    x = node.inputs[0]
    starts, ends = node.option("starts", 1), node.option("ends", 2)
    axes = node.option("axes", 3, range(len(starts)))
    steps = node.option("steps", 4, [1] * len(starts))
    tensor, rank = x.tensor, len(x.tensor.shape)
    cut = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = int(axis) % rank
        size = None if axis == 0 else x.shape[axis - 1]
        if axis == 0 or step < 1:
            raise ValueError("only features can be cut, with steps of at least 1")
        begin, stop, stride = slice(int(start), int(end), int(step)).indices(size)
        cut[_TO_LAST[axis] if x.last else axis] = slice(begin, stop, stride)
    return Value(tensor[tuple(cut)], x.last)


@_operator("Split")
def _split(node):
    x, sizes = node.inputs[0], node.option("split", 1)
    axis = node.attributes.get("axis", 0) % len(x.tensor.shape)
    if axis == 0:
        raise ValueError("the batch must be left alone")
    if sizes is None:
        each = -(-x.shape[axis - 1] // node.results)
        sizes = [each] * node.results  # The last part may be smaller; its end is not asked for.
    ends = [int(end) for end in np.cumsum(sizes)[:-1]]
    return [Value(t, x.last) for t in ops.split(x.tensor, ends, _TO_LAST[axis] if x.last else axis)]
