"""ONNX's operators that reduce, choose, cut, pad and join."""

import numpy as np
from keras import layers, ops

from export.onnx_import.values import (
    TO_LAST,
    Value,
    constant,
    counted,
    held_last,
    is_batch,
    keep_batch,
    operator,
    plain,
)

_REDUCTIONS = {
    "ReduceMean": ops.mean,
    "ReduceSum": ops.sum,
    "ReduceMax": ops.max,
    "ReduceMin": ops.min,
    "ReduceProd": ops.prod,
    "ReduceL1": lambda x, **at: ops.sum(ops.abs(x), **at),
    "ReduceL2": lambda x, **at: ops.sqrt(ops.sum(ops.square(x), **at)),
    "ReduceSumSquare": lambda x, **at: ops.sum(ops.square(x), **at),
    "ReduceLogSum": lambda x, **at: ops.log(ops.sum(x, **at)),
    "ReduceLogSumExp": ops.logsumexp,
}


@operator(*_REDUCTIONS)
def _reduce(node):
    x, axes = node.feature(), node.option("axes", 1)
    if axes is None or not len(axes):
        if node.attributes.get("noop_with_empty_axes", 0):
            return x
        axes = range(x.rank)
    axes = [counted(a, x.rank) for a in axes]
    keep_batch(x, axes)
    keep = bool(node.attributes.get("keepdims", 1))
    function = _REDUCTIONS[node.kind]
    if x.last and (keep or sorted(axes) == [2, 3]):  # What is left then has the right order.
        tensor = function(x.tensor, axis=tuple(TO_LAST[a] for a in axes), keepdims=keep)
        return x._replace(tensor=tensor, last=keep)
    return x._replace(tensor=function(plain(x), axis=tuple(axes), keepdims=keep), last=False)


@operator("Concat")
def _concat(node):
    if not all(isinstance(x, Value) for x in node.inputs):
        raise ValueError("features and constants cannot be joined")
    first = node.inputs[0]
    axis = node.axis(0, first.rank)
    keep_batch(first, [axis])
    if any(x.last for x in node.inputs):
        joined = layers.Concatenate(TO_LAST[axis], name=node.name)([held_last(x) for x in node.inputs])
        return first._replace(tensor=joined, last=True)
    joined = layers.Concatenate(axis, name=node.name)([x.tensor for x in node.inputs])
    return first._replace(tensor=joined)


@operator("Pad")
def _pad(node):
    x, mode = node.feature(), node.text("mode", "constant")
    pads, value = node.option("pads", 1), node.option("value", 2, 0.0)
    axes = node.option("axes", 3, range(x.rank))
    total = np.zeros((x.rank, 2), int)
    total[[counted(a, x.rank) for a in axes]] = np.reshape(pads, (2, -1)).T
    keep_batch(x, np.flatnonzero(total.any(axis=1)))
    if mode == "constant" and (total >= 0).all():
        if x.last:
            total = total[[0, 2, 3, 1]]
        pads = tuple(map(tuple, total.tolist()))
        return x._replace(tensor=ops.pad(x.tensor, pads, constant_values=float(value)))
    if mode not in ("reflect", "edge", "wrap") or (total < 0).any():
        raise ValueError(f"padding of mode {mode!r} with {total.tolist()} cannot be imported")
    tensor = x.tensor
    for axis in np.flatnonzero(total.any(axis=1)):
        chosen = np.pad(np.arange(x.sizes[axis]), total[axis], mode)
        tensor = ops.take(tensor, chosen, axis=x.held(axis))
    return x._replace(tensor=tensor)


@operator("Gather")
def _gather(node):
    x, chosen = node.inputs
    if not isinstance(x, Value):  # A table of constants, looked up by what the images give.
        return chosen._replace(
            tensor=ops.take(x, ops.cast(plain(chosen), "int32"), node.axis(0, x.ndim)), last=False
        )
    chosen = constant(chosen)
    axis = node.axis(0, x.rank)
    keep_batch(x, [axis])
    size = x.sizes[axis]
    if (chosen < -size).any() or (chosen >= size).any():
        raise ValueError(f"there is no element {chosen.tolist()} of {size}")
    chosen = (chosen % size).astype("int32")
    if x.last and chosen.ndim == 1:
        return x._replace(tensor=ops.take(x.tensor, chosen, axis=TO_LAST[axis]))
    return x._replace(tensor=ops.take(plain(x), chosen, axis=axis), last=False)


@operator("Slice")
def _slice(node):
    x = node.feature()
    starts, ends = node.option("starts", 1), node.option("ends", 2)
    axes = node.option("axes", 3, range(len(starts)))
    steps = node.option("steps", 4, [1] * len(starts))
    tensor = x.tensor
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = counted(axis, x.rank)
        size = x.sizes[axis]
        chosen = range(*slice(int(start), int(end), int(step)).indices(size))
        if chosen == range(size) or (node.frozen and is_batch(size) and chosen == range(1)):
            continue
        keep_batch(x, [axis])
        if not chosen:
            raise ValueError("nothing is left of an axis")
        if step > 0:
            cut = [slice(None)] * x.rank
            cut[x.held(axis)] = slice(chosen.start, chosen.stop, chosen.step)
            tensor = tensor[tuple(cut)]
        else:
            tensor = ops.take(tensor, np.array(chosen, "int32"), axis=x.held(axis))
    return x._replace(tensor=tensor)


@operator("Split")
def _split(node):
    x, sizes = node.feature(), node.option("split", 1)
    axis = node.axis(0, x.rank)
    keep_batch(x, [axis])
    if sizes is None:
        each = -(-x.sizes[axis] // node.results)
        sizes = [each] * node.results  # The last part may be smaller; its end is not asked for.
    ends = [int(end) for end in np.cumsum(sizes)[:-1]]
    return [x._replace(tensor=t) for t in ops.split(x.tensor, ends, x.held(axis))]


@operator("TopK")
def _largest(node):
    x, count = node.feature(), int(np.reshape(constant(node.inputs[1]), ()))
    axis = node.axis(-1, x.rank)
    if axis != x.rank - 1 or is_batch(x.sizes[axis]) or not node.attributes.get("largest", 1):
        raise ValueError("only the largest of the last axis can be chosen")
    return [x._replace(tensor=t, last=False) for t in ops.top_k(plain(x), count)]
