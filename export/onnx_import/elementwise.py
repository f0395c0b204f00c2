"""ONNX's operators that work on each element by itself."""

import functools
import math

import numpy as np
from keras import layers, ops

from export.onnx_import.values import in_one_order, operator

_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16 of TensorProto.
_CASTS = {2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int32", 9: "bool"}


def _hard_sigmoid(at):
    return lambda x: ops.clip(at.get("alpha", 0.2) * x + at.get("beta", 0.5), 0.0, 1.0)


def _shrink(at):
    bias, limit = at.get("bias", 0.0), at.get("lambd", 0.5)
    return lambda x: ops.where(x < -limit, x + bias, ops.where(x > limit, x - bias, 0.0))


def _selu(at):
    alpha, gamma = at.get("alpha", 1.6732632423543772), at.get("gamma", 1.0507009873554805)
    return lambda x: gamma * ops.elu(x, alpha)


_ACTIVATIONS = {
    "Relu": lambda at: layers.ReLU(),
    "LeakyRelu": lambda at: layers.LeakyReLU(negative_slope=at.get("alpha", 0.01)),
    "ThresholdedRelu": lambda at: lambda x: x * ops.cast(x > at.get("alpha", 1.0), x.dtype),
    "Elu": lambda at: layers.ELU(alpha=at.get("alpha", 1.0)),
    "Celu": lambda at: lambda x: ops.celu(x, at.get("alpha", 1.0)),
    "Selu": _selu,
    "Shrink": _shrink,
    "Mish": lambda at: layers.Activation("mish"),
    "Sigmoid": lambda at: layers.Activation("sigmoid"),
    "Tanh": lambda at: layers.Activation("tanh"),
    "Softplus": lambda at: layers.Activation("softplus"),
    "Softsign": lambda at: layers.Activation("softsign"),
    "Gelu": lambda at: lambda x: ops.gelu(x, approximate=at.get("approximate", b"none") == b"tanh"),
    "HardSigmoid": _hard_sigmoid,
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
    "Sin": lambda at: ops.sin,
    "Cos": lambda at: ops.cos,
    "Tan": lambda at: ops.tan,
    "Atan": lambda at: ops.arctan,
    "Atanh": lambda at: ops.arctanh,
    "Asinh": lambda at: ops.arcsinh,
    "Sinh": lambda at: ops.sinh,
    "Cosh": lambda at: ops.cosh,
    "Not": lambda at: ops.logical_not,
    "IsNaN": lambda at: ops.isnan,
    "IsInf": lambda at: ops.isinf,
}


@operator(*_ACTIVATIONS)
def _activation(node):
    x = node.feature()
    return x._replace(tensor=_ACTIVATIONS[node.kind](node.attributes)(x.tensor))


@operator("Softmax", "LogSoftmax")
def _softmax(node):
    x = node.feature()
    axis = x.held(node.axis(-1, x.rank))
    function = ops.softmax if node.kind == "Softmax" else ops.log_softmax
    return x._replace(tensor=function(x.tensor, axis=axis))


@operator("Clip")
def _clip(node):
    low, high = node.option("min", 1, -math.inf), node.option("max", 2, math.inf)
    x = node.feature()
    return x._replace(tensor=ops.clip(x.tensor, float(low), float(high)))


@operator("PRelu")
def _prelu(node):
    (x, slope), like = in_one_order(*node.inputs)
    return like._replace(tensor=ops.maximum(x, 0.0) + ops.multiply(ops.minimum(x, 0.0), slope))


def _divide(a, b):
    whole = all("int" in str(x.dtype) for x in (a, b))
    return ops.floor_divide(a, b) if whole else ops.divide(a, b)


_BINARY = {
    "Add": ops.add,
    "Sub": ops.subtract,
    "Mul": ops.multiply,
    "Div": _divide,
    "Pow": ops.power,
    "Mod": ops.mod,
    "Sum": ops.add,
    "Mean": ops.add,
    "Min": ops.minimum,
    "Max": ops.maximum,
    "And": ops.logical_and,
    "Or": ops.logical_or,
    "Xor": ops.logical_xor,
    "Equal": ops.equal,
    "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal,
    "Less": ops.less,
    "LessOrEqual": ops.less_equal,
}


@operator(*_BINARY)
def _binary(node):
    operands, like = in_one_order(*node.inputs)
    result = functools.reduce(_BINARY[node.kind], operands)
    if node.kind == "Mean":
        result = result / float(len(operands))
    return like._replace(tensor=result)


@operator("Where")
def _where(node):
    operands, like = in_one_order(*node.inputs)
    return like._replace(tensor=ops.where(*operands))


@operator("Identity", "Dropout")
def _pass(node):
    return node.feature()


@operator("Cast")
def _cast(node):
    x, to = node.feature(), node.attributes["to"]
    if to in _FLOATS:
        is_float = "float" in str(x.tensor.dtype)
        return x if is_float else x._replace(tensor=ops.cast(x.tensor, "float32"))
    if to not in _CASTS:
        raise ValueError(f"features cannot be cast to the type {to}")
    return x._replace(tensor=ops.cast(x.tensor, _CASTS[to]))


@operator("CumSum")
def _cumulated(node):
    x, axis = node.feature(), node.option("axis", 1)
    if node.attributes.get("exclusive", 0) or node.attributes.get("reverse", 0):
        raise ValueError("sums that leave out an element or run backwards cannot be imported")
    axis = x.held(int(np.reshape(axis, ())) % x.rank)
    return x._replace(tensor=ops.cumsum(x.tensor, axis=axis))
