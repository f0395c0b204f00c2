"""ONNX's operators that give tensors another shape or order."""

import math

import numpy as np
from keras import layers, ops

from export.onnx_import.values import (
    BATCH,
    Value,
    constant,
    counted,
    is_batch,
    operator,
    plain,
)


@operator("Shape")
def _shape(node):
    sizes = node.feature().sizes
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(sizes))
    return np.array(sizes[start:end], "int64")


@operator("Size")
def _size(node):
    return np.array(math.prod(node.feature().sizes), "int64")


def _reshaped(node, x, target):
    """Return a tensor in another shape, given with multiples of `BATCH`."""
    total = math.prod(x.sizes)
    if list(target).count(-1) == 1:
        known = math.prod(n for n in target if n != -1)
        if known == 0 or total % known:
            raise ValueError(f"{_told(x.sizes)} cannot become {_told(target)}")
        target = [total // known if n == -1 else n for n in target]
    if math.prod(target) == total and sum(map(is_batch, target)) == 1:
        (rows,) = (n // BATCH for n in target if is_batch(n))
        open_shape = [-1 if is_batch(n) else int(n) for n in target]
        single = x.last and x.sizes[2:] == (1, 1) and len(target) == 2  # Both orders are the same then.
        tensor = x.tensor if single else plain(x)
        if is_batch(x.sizes[0]) and rows == x.rows == 1 and open_shape[0] == -1:
            tensor = layers.Reshape(open_shape[1:], name=node.name)(tensor)
        else:
            tensor = ops.reshape(tensor, open_shape)
        return Value(tensor, rows=rows)
    raise ValueError(f"{_told(x.sizes)} becomes {_told(target)}, which does not leave the batch alone")


def _told(sizes):
    return tuple("batch" if n == BATCH else int(n) for n in sizes)


@operator("Flatten")
def _flatten(node):
    x = node.feature()
    axis = node.attributes.get("axis", 1)
    axis = axis if axis >= 0 else axis + x.rank
    return _reshaped(node, x, [math.prod(x.sizes[:axis]), math.prod(x.sizes[axis:])])


@operator("Reshape")
def _reshape(node):
    x, target = node.feature(), [int(n) for n in constant(node.inputs[1])]
    kept = not node.attributes.get("allowzero", 0)
    target = [x.sizes[i] if n == 0 and kept and i < x.rank else n for i, n in enumerate(target)]
    if node.frozen and target[:1] == [1] and not any(map(is_batch, target)):
        target[0] = BATCH
    return _reshaped(node, x, target)


@operator("Transpose")
def _transpose(node):
    x = node.feature()
    order = tuple(node.attributes.get("perm", range(x.rank)[::-1]))
    if sorted(order) != list(range(x.rank)):
        raise ValueError(f"{order} is no order of {x.rank} axes")
    if order == (0, 3, 1, 2) and not x.last and is_batch(x.sizes[0]):
        return x._replace(last=True)
    if order == (0, 2, 3, 1) and x.last:
        return x._replace(last=False)
    return x._replace(tensor=ops.transpose(plain(x), order), last=False)


@operator("Squeeze", "Unsqueeze")
def _squeeze(node):
    x, axes = node.feature(), node.option("axes", 1)
    if axes is None:
        raise ValueError("the axes must be named")
    axes = np.reshape(axes, -1)
    grown = x.rank + (len(axes) if node.kind == "Unsqueeze" else 0)
    axes = sorted(counted(a, grown) for a in axes)
    tensor = plain(x)
    if node.kind == "Squeeze":
        if any(x.sizes[axis] != 1 for axis in axes):
            raise ValueError(f"the axes {axes} of {_told(x.sizes)} are not single")
        tensor = ops.squeeze(tensor, axis=tuple(axes))
    else:
        for axis in axes:
            tensor = ops.expand_dims(tensor, axis)
    return x._replace(tensor=tensor, last=False)


@operator("Expand", "ConstantOfShape")
def _expand(node):
    shape = constant(node.inputs[-1])
    if node.kind == "ConstantOfShape":
        x = np.reshape(node.attributes.get("value", np.float32(0)), ())
    else:
        x = node.inputs[0]
    is_value = isinstance(x, Value)
    sizes = x.sizes if is_value else np.shape(x)
    target = np.broadcast_shapes(sizes, tuple(int(n) for n in shape))
    open_axes = [axis for axis, n in enumerate(target) if is_batch(n)]
    if len(open_axes) != 1:
        raise ValueError(f"{_told(sizes)} becomes {_told(target)}, which does not leave the batch alone")
    tensor = plain(x) if is_value else np.asarray(x)
    many = np.ones([1 if is_batch(n) else n for n in target], _dtype(tensor))
    join = ops.logical_and if many.dtype == bool else ops.multiply
    rows = target[open_axes[0]] // BATCH
    if not is_value or not any(map(is_batch, sizes)):
        if rows != 1:
            raise ValueError("several rows for each image are not made of one")
        # Nothing but the images knows the batch size.
        per_image = [-1 if axis == open_axes[0] else 1 for axis in range(len(target))]
        ones = ops.ones_like(node.images[:, 0, 0, 0])
        many = join(ops.cast(ops.reshape(ones, per_image), many.dtype.name), many)
    return Value(join(tensor, many), rows=rows)


def _dtype(tensor):
    name = str(tensor.dtype)
    return {"float64": "float32", "int64": "int32"}.get(name, name)


@operator("Tile")
def _tile(node):
    x, repeats = node.inputs[0], [int(n) for n in constant(node.inputs[1])]
    if not isinstance(x, Value):
        parts = [1 if is_batch(n) else n for n in repeats]
        sizes = np.array([n if is_batch(n) else 1 for n in repeats], "int64")
        return _expand(node._replace(kind="Expand", inputs=[np.tile(x, parts), sizes]))
    if any(n != 1 and is_batch(size) for n, size in zip(repeats, x.sizes, strict=True)):
        raise ValueError("the batch must be left alone")
    tensor = x.tensor
    for axis, count in enumerate(repeats):
        if count != 1:
            tensor = ops.concatenate([tensor] * count, axis=x.held(axis))
    return x._replace(tensor=tensor)


@operator("DepthToSpace", "SpaceToDepth")
def _blocks(node):
    x, size = plain(node.feature()), node.attributes["blocksize"]
    _, channels, height, width = x.shape
    if node.kind == "SpaceToDepth":
        x = ops.reshape(x, (-1, channels, height // size, size, width // size, size))
        x = ops.transpose(x, (0, 3, 5, 1, 2, 4))
        return Value(ops.reshape(x, (-1, channels * size**2, height // size, width // size)))
    channels //= size**2
    if node.text("mode", "DCR") == "DCR":
        x = ops.reshape(x, (-1, size, size, channels, height, width))
        x = ops.transpose(x, (0, 3, 4, 1, 5, 2))
    else:
        x = ops.reshape(x, (-1, channels, size, size, height, width))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
    return Value(ops.reshape(x, (-1, channels, height * size, width * size)))
