"""ONNX's operators with weights or windows: convolutions, pools, normalisation."""

import math

import numpy as np
from keras import layers, ops

from export.onnx_import.values import constant, held_last, operator, plain

_CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
_DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
_TRANSPOSED = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
_POOLS = {
    "MaxPool": {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D},
    "AveragePool": {1: layers.AveragePooling1D, 2: layers.AveragePooling2D, 3: layers.AveragePooling3D},
}


def _with(layer, tensor, weights):
    result = layer(tensor)
    layer.set_weights([np.asarray(w, "float32") for w in weights])
    return result


def _channels_last(value):
    """Return a tensor held channels last: images, sequences, volumes."""
    if value.rank == 4:
        return held_last(value)
    return ops.transpose(value.tensor, (0, *range(2, value.rank), 1))


def _result(like, tensor):
    """Return a `Value` of a tensor that is held channels last."""
    rank = len(tensor.shape)
    if rank == 4:
        return like._replace(tensor=tensor, last=True)
    return like._replace(tensor=ops.transpose(tensor, (0, rank - 1, *range(1, rank - 1))))


def _one_per_axis(node, name, rank):
    found = tuple(node.attributes.get(name, (1,) * rank))
    if len(found) != rank:
        raise ValueError(f"`{name}` must have {rank} numbers, not {found}")
    return found


def _window(node, kernel, sizes):
    """Return strides, dilations and a pair of pads for each axis of a convolution or a pool."""
    at, rank = node.attributes, len(sizes)
    if len(kernel) != rank:
        raise ValueError(f"windows must have {rank} axes, not {tuple(kernel)}")
    strides, dilations = (_one_per_axis(node, k, rank) for k in ("strides", "dilations"))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    automatic = node.text("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        ways = zip(sizes, strides, reach, strict=True)
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in ways]
        less = [t // 2 for t in total]
        pads = [(a, t - a) for a, t in zip(less, total, strict=True)]
        pads = [p[::-1] for p in pads] if automatic == "SAME_LOWER" else pads
    else:
        pads = np.reshape(at.get("pads", (0,) * 2 * rank), (2, rank)).T.tolist()
    if at.get("ceil_mode", 0):
        grown = []
        for (a, b), n, s, r in zip(pads, sizes, strides, reach, strict=True):
            count = -(-(n + a + b - r) // s) + 1
            count -= (count - 1) * s >= n + a  # A window that begins behind the image is left out.
            grown.append((a, b + max((count - 1) * s + r - (n + a + b), 0)))
        pads = grown
    return strides, dilations, tuple(map(tuple, pads))


def _padded(x, pads, value=0.0):
    if not any(map(any, pads)):
        return x
    if value == 0.0 and len(pads) == 2:
        return layers.ZeroPadding2D(pads)(x)
    return ops.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


@operator("Conv")
def _conv(node):
    value, kernel, bias = node.feature(), constant(node.inputs[1]), node.get(2)
    x = _channels_last(value)
    filters, _, *size = kernel.shape
    rank, groups = len(size), node.attributes.get("group", 1)
    strides, dilations, pads = _window(node, size, x.shape[1:-1])
    x = _padded(x, pads)
    step = (1,) * rank
    if max(strides) > 1 and max(dilations) > 1:
        strides, step = step, strides  # Keras has no convolution with both: leave places out afterwards.
    given = {"strides": strides, "dilation_rate": dilations, "use_bias": bias is not None}
    given["name"] = node.name
    # TensorFlow's depthwise convolution has one stride for both axes.
    depthwise = groups > 1 and groups == x.shape[-1] and rank in _DEPTHWISE
    if depthwise and len(set(strides)) == 1:
        layer = _DEPTHWISE[rank](size, depth_multiplier=filters // groups, **given)
        kernel = kernel.reshape(groups, filters // groups, *size)
        kernel = np.moveaxis(kernel, (0, 1), (-2, -1))
    else:
        layer = _CONVOLUTIONS[rank](filters, size, groups=groups, **given)
        kernel = np.moveaxis(kernel, (0, 1), (-1, -2))
    y = _with(layer, x, [kernel] if bias is None else [kernel, constant(bias)])
    if max(step) > 1:
        y = y[(slice(None), *(slice(None, None, s) for s in step))]
    return _result(value, y)


@operator("ConvTranspose")
def _conv_transpose(node):
    value, kernel, bias = node.feature(), constant(node.inputs[1]), node.get(2)
    x, groups = _channels_last(value), node.attributes.get("group", 1)
    filters, *size = kernel.shape[1:]
    rank = len(size)
    strides, dilations = (_one_per_axis(node, k, rank) for k in ("strides", "dilations"))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True)]
    # TensorFlow dilates a transposed convolution with oneDNN only, so the kernel itself gets the gaps.
    dilated = np.zeros((*kernel.shape[:2], *reach), kernel.dtype)
    dilated[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = kernel
    parts = [
        _with(
            _TRANSPOSED[rank](
                filters,
                reach,
                strides=strides,
                use_bias=False,
                name=node.name if groups == 1 else f"{node.name}_group_{number}",
            ),
            part,
            [np.moveaxis(weights, (0, 1), (-1, -2))],
        )
        for number, (part, weights) in enumerate(
            zip(_groups(x, groups), np.split(dilated, groups), strict=True)
        )
    ]
    y = parts[0] if groups == 1 else layers.Concatenate()(parts)
    cut, grow = [slice(None)], [(0, 0)]
    for (begin, wanted), made in zip(_output(node, full), y.shape[1:-1], strict=True):
        stop = min(begin + wanted, made)
        cut.append(slice(begin, stop))
        grow.append((0, wanted - (stop - begin)))
    y = y[(*cut, slice(None))]
    if any(map(any, grow)):
        y = ops.pad(y, (*grow, (0, 0)))
    return _result(value, y if bias is None else ops.add(y, constant(bias).astype("float32")))


def _groups(x, groups):
    return [x] if groups == 1 else ops.split(x, groups, axis=-1)


def _output(node, full):
    """Yield, for each axis, where in the full result the output begins and how long it is."""
    at, rank = node.attributes, len(full)
    more = at.get("output_padding", (0,) * rank)
    pads = np.reshape(at.get("pads", (0,) * 2 * rank), (2, rank)).T
    automatic = node.text("auto_pad", "NOTSET")
    wanted = at.get("output_shape")
    if wanted is None and automatic.startswith("SAME"):
        wanted = [n * s for n, s in zip(node.feature().sizes[2:], at["strides"], strict=True)]
    for axis in range(rank):
        if wanted is None:
            yield int(pads[axis][0]), int(full[axis] + more[axis] - sum(pads[axis]))
            continue
        total = max(full[axis] + more[axis] - wanted[axis], 0)
        yield total // 2 if automatic != "SAME_LOWER" else total - total // 2, int(wanted[axis])


@operator("BatchNormalization")
def _batch_normalization(node):
    x = node.feature()
    if node.attributes.get("training_mode", 0):
        raise ValueError("statistics of the batch at hand make images depend on each other")
    tensor = _channels_last(x) if x.rank > 2 else x.tensor
    layer = layers.BatchNormalization(epsilon=node.attributes.get("epsilon", 1e-5), name=node.name)
    y = _with(layer, tensor, map(constant, node.inputs[1:5]))
    return _result(x, y) if x.rank > 2 else x._replace(tensor=y)


@operator("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def _layer_normalization(node):
    x = node.feature()
    axes = tuple(range(node.axis(-1, x.rank), x.rank))
    y, epsilon = plain(x), node.attributes.get("epsilon", 1e-5)
    if node.kind == "LayerNormalization":
        y = y - ops.mean(y, axis=axes, keepdims=True)
    y = y * ops.rsqrt(ops.mean(ops.square(y), axis=axes, keepdims=True) + epsilon)
    return x._replace(tensor=_scaled(y, node.get(1), node.get(2)), last=False)


@operator("InstanceNormalization", "GroupNormalization")
def _group_normalization(node):
    x = node.feature()
    channels, *places = x.sizes[1:]
    groups = channels if node.kind == "InstanceNormalization" else node.attributes["num_groups"]
    y = ops.reshape(plain(x), (-1, groups, channels // groups * math.prod(places)))
    y = y - ops.mean(y, axis=2, keepdims=True)
    y = y * ops.rsqrt(
        ops.mean(ops.square(y), axis=2, keepdims=True) + node.attributes.get("epsilon", 1e-5)
    )
    y = ops.reshape(y, (-1, channels, *places))
    shape = (-1, *[1] * len(places))
    scale, bias = (constant(w) for w in node.inputs[1:3])
    if len(scale) != channels:  # Before operator set 21: one number for each group.
        scale, bias = (np.repeat(w, channels // groups) for w in (scale, bias))
    return x._replace(tensor=_scaled(y, scale.reshape(shape), bias.reshape(shape)), last=False)


def _scaled(x, scale, bias):
    if scale is not None:
        x = ops.multiply(x, constant(scale).astype("float32"))
    return x if bias is None else ops.add(x, constant(bias).astype("float32"))


def _pool_window(node, sizes):
    size = node.attributes["kernel_shape"]
    strides, dilations, pads = _window(node, size, sizes)
    if any(d != 1 for d in dilations):
        raise ValueError("dilated pools cannot be imported")
    return tuple(size), strides, pads


@operator("MaxPool")
def _max_pool(node):
    value = node.feature()
    x = _channels_last(value)
    size, strides, pads = _pool_window(node, x.shape[1:-1])
    pool = _POOLS[node.kind][len(size)](size, strides, name=node.name)
    return _result(value, pool(_padded(x, pads, -math.inf)))


@operator("AveragePool")
def _average_pool(node):
    value = node.feature()
    x = _channels_last(value)
    size, strides, pads = _pool_window(node, x.shape[1:-1])
    inside = np.pad(np.ones(x.shape[1:-1], "float32"), pads)
    if node.attributes.get("count_include_pad", 0):
        if node.attributes.get("ceil_mode", 0):
            raise ValueError("count_include_pad with ceil_mode cannot be imported")
        inside = np.ones_like(inside)
    windows = np.lib.stride_tricks.sliding_window_view(inside, size)
    windows = windows[tuple(slice(None, None, s) for s in strides)]
    share = windows.mean(axis=tuple(range(-len(size), 0)))[None, ..., None]
    y = _POOLS[node.kind][len(size)](size, strides, name=node.name)(_padded(x, pads))
    return _result(value, y if (share == 1).all() else ops.divide(y, share))


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node):
    value = node.feature()
    x = _channels_last(value)
    if value.rank == 4:
        average = node.kind == "GlobalAveragePool"
        kind = layers.GlobalAveragePooling2D if average else layers.GlobalMaxPooling2D
        return _result(value, kind(keepdims=True, name=node.name)(x))
    function = ops.mean if node.kind == "GlobalAveragePool" else ops.max
    return _result(value, function(x, axis=tuple(range(1, value.rank - 1)), keepdims=True))
