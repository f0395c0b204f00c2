"""ONNX's operators that reduce, order, cut and join tensors."""

import math

import numpy as np
from keras import layers, ops

from export.onnx_import.values import TO_LAST, Value, constant, held_last, operator, plain


@operator("ReduceMean", "ReduceSum", "ReduceMax")
def _reduce(node):
    x = node.inputs[0]
    rank = len(x.tensor.shape)
    axes = [int(a) % rank for a in node.option("axes", 1, default=range(rank))]
    keep = bool(node.attributes.get("keepdims", 1))
    if 0 in axes:
        raise ValueError("the batch must not be reduced")
    function = {"ReduceMean": ops.mean, "ReduceSum": ops.sum, "ReduceMax": ops.max}[node.kind]
    if x.last and (keep or sorted(axes) == [2, 3]):  # What is left then has the right order.
        return Value(function(x.tensor, axis=tuple(TO_LAST[a] for a in axes), keepdims=keep), keep)
    return Value(function(plain(x), axis=tuple(axes), keepdims=keep))


@operator("Shape")
def _shape(node):
    # In a shape to come 0 means: as many as there are, which holds for the batch.
    return np.array([0, *node.inputs[0].shape])


@operator("Flatten")
def _flatten(node):
    if node.attributes.get("axis", 1) != 1:
        raise ValueError("only what leaves the batch alone can be imported")
    x = node.inputs[0]
    whole = x.last and x.shape[1:] == (1, 1)  # Both orders are the same then.
    return Value(layers.Flatten(name=node.name)(x.tensor if whole else plain(x)))


@operator("Reshape")
def _reshape(node):
    x, (first, *rest) = node.inputs[0], (int(n) for n in constant(node.inputs[1]))
    rest = [x.shape[i] if n == 0 else n for i, n in enumerate(rest)]
    size = math.prod(x.shape)
    if first != 0 and -1 not in rest and math.prod(rest) != size:
        raise ValueError(f"{x.shape} becomes {(first, *rest)}, which does not leave the batch alone")
    known = math.prod(n for n in rest if n != -1)
    rest = [size // known if n == -1 else n for n in rest]
    whole = x.last and x.shape[1:] == (1, 1) and len(rest) == 1
    return Value(layers.Reshape(rest, name=node.name)(x.tensor if whole else plain(x)))


@operator("Transpose")
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


@operator("Concat")
def _concat(node):
    if not all(isinstance(x, Value) for x in node.inputs):
        raise ValueError("features and constants cannot be joined")
    rank = len(node.inputs[0].tensor.shape)
    axis = node.attributes["axis"] % rank
    if rank == 4:
        joined = layers.Concatenate(TO_LAST[axis], name=node.name)([held_last(x) for x in node.inputs])
        return Value(joined, last=True)
    return Value(layers.Concatenate(axis, name=node.name)([x.tensor for x in node.inputs]))


@operator("Pad")
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


@operator("Squeeze", "Unsqueeze")
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


@operator("Gather")
def _gather(node):
    x, chosen = node.inputs[0], constant(node.inputs[1])
    axis = node.attributes.get("axis", 0) % len(x.tensor.shape)
    if axis == 0:
        raise ValueError("the batch must be left alone")
    if x.last and chosen.ndim == 1:
        return Value(ops.take(x.tensor, chosen, axis=TO_LAST[axis]), last=True)
    return Value(ops.take(plain(x), chosen, axis=axis))


@operator("Slice")
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
        cut[TO_LAST[axis] if x.last else axis] = slice(begin, stop, stride)
    return Value(tensor[tuple(cut)], x.last)


@operator("Split")
def _split(node):
    x, sizes = node.inputs[0], node.option("split", 1)
    axis = node.attributes.get("axis", 0) % len(x.tensor.shape)
    if axis == 0:
        raise ValueError("the batch must be left alone")
    if sizes is None:
        each = -(-x.shape[axis - 1] // node.results)
        sizes = [each] * node.results  # The last part may be smaller; its end is not asked for.
    ends = [int(end) for end in np.cumsum(sizes)[:-1]]
    return [Value(t, x.last) for t in ops.split(x.tensor, ends, TO_LAST[axis] if x.last else axis)]
