"""ONNX's operators that work on each element by itself."""

import math

from keras import layers, ops

from export.onnx_import.values import TO_LAST, Value, held_last, operator, plain

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


@operator(*_ACTIVATIONS)
def _activation(node):
    x = node.inputs[0]
    return Value(_ACTIVATIONS[node.kind](node.attributes)(x.tensor), x.last)


@operator("Softmax", "LogSoftmax")
def _softmax(node):
    x = node.inputs[0]
    rank = len(x.tensor.shape)
    axis = node.attributes.get("axis", -1) % rank
    function = ops.softmax if node.kind == "Softmax" else ops.log_softmax
    return Value(function(x.tensor, axis=TO_LAST[axis] if x.last else axis), x.last)


@operator("Clip")
def _clip(node):
    low, high = node.option("min", 1, -math.inf), node.option("max", 2, math.inf)
    return Value(ops.clip(node.inputs[0].tensor, float(low), float(high)), node.inputs[0].last)


def _together(a, b):
    """Return two operands of an elementwise operation in one order, and whether it is channels last."""
    if isinstance(a, Value) and isinstance(b, Value):
        if a.last == b.last:
            return a.tensor, b.tensor, a.last
        if len(a.tensor.shape) == len(b.tensor.shape) == 4:
            return held_last(a), held_last(b), True
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


@operator("PRelu")
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


@operator(*_BINARY)
def _binary(node):
    result, *rest = node.inputs
    for operand in rest:
        a, b, last = _together(result, operand)
        result = Value(_BINARY[node.kind](a, b), last)
    return result


@operator("Identity", "Dropout", "Cast")
def _pass(node):
    if node.kind == "Cast" and node.attributes["to"] not in (1, 10, 11, 16):
        raise ValueError("features can be cast to float types only")
    return node.inputs[0]
