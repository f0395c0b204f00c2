"""Operations of TensorFlow that ONNX lacks, or that tf2onnx writes wrongly, by others."""

import numpy as np
import tensorflow as tf

REPLACEMENTS = {}
"""Functions `(operation, *inputs) -> tensor` by the operation's type; None leaves it as it is."""

_OF_SHAPES = ("Shape", "Size", "Rank")


def _replaces(*kinds):
    def register(function):
        REPLACEMENTS.update(dict.fromkeys(kinds, function))
        return function

    return register


@_replaces("Erfc")
def _erfc(_, x):
    return 1.0 - tf.math.erf(x)


@_replaces("Expm1")
def _expm1(_, x):
    # exp(x) - 1 loses all digits near 0, where 2 tanh(x / 2) / (1 - tanh(x / 2)), which is the same,
    # loses none; that one overflows far from 0.
    half = tf.tanh(0.5 * tf.clip_by_value(x, -1.0, 1.0))
    return tf.where(tf.abs(x) < 1.0, 2.0 * half / (1.0 - half), tf.exp(x) - 1.0)


@_replaces("Log1p")
def _log1p(_, x):
    # log(1 + x) loses all digits near 0, where 2 atanh(x / (2 + x)), which is the same, loses none; that
    # one overflows far from 0.
    near = tf.clip_by_value(x, -0.5, 0.5)
    return tf.where(tf.abs(x) < 0.5, 2.0 * tf.atanh(near / (2.0 + near)), tf.math.log(1.0 + x))


@_replaces("Conv2DBackpropInput")
def _transposed_convolution(operation, sizes, kernel, x):
    # ONNX has no negative padding: an output larger than what the kernel reaches is filled up.
    strides, dilations = (operation.get_attr(name)[1:3] for name in ("strides", "dilations"))
    wanted = operation.outputs[0].shape[1:3]
    axes = zip(x.shape[1:3], strides, kernel.shape[:2], dilations, strict=True)
    reached = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in axes]
    missing = [max(w - r, 0) for w, r in zip(wanted, reached, strict=True)]
    if operation.get_attr("padding") != b"VALID" or not any(missing):
        return None
    whole = tf.concat([sizes[:1], reached, sizes[3:]], axis=0)
    y = tf.nn.conv2d_transpose(x, kernel, whole, strides, "VALID", dilations=dilations)
    return tf.pad(y, [(0, 0), *((0, m) for m in missing), (0, 0)])


@_replaces("ScaleAndTranslate")
def _scale_and_translate(operation, images, size, scale, translation):
    options = {name: operation.get_attr(name) for name in ("kernel_type", "antialias")}
    size, scale, translation = map(_static, (size, scale, translation))
    return _by_matrices(
        images,
        lambda x, keep: tf.raw_ops.ScaleAndTranslate(
            images=x,
            size=np.where(keep, 1, size).astype("int32"),
            scale=np.where(keep, 1.0, scale).astype("float32"),
            translation=np.where(keep, 0.0, translation).astype("float32"),
            **options,
        ),
    )


@_replaces("ResizeBicubic")
def _resize_bicubic(operation, images, size):
    options = {name: operation.get_attr(name) for name in ("align_corners", "half_pixel_centers")}
    size = _static(size)
    return _by_matrices(
        images,
        lambda x, keep: tf.raw_ops.ResizeBicubic(
            images=x, size=np.where(keep, 1, size).astype("int32"), **options
        ),
    )


@_replaces("ReverseV2")
def _reverse(operation, x, axes):
    for axis in np.ravel(_static(axes)):
        x = tf.gather(x, np.arange(x.shape[axis])[::-1].copy(), axis=axis)
    return x


def static_value(tensor):
    """Compute a tensor that depends on no more of the images than their size.

    Args:
        tensor: of a graph with placeholders.

    Returns:
        NumPy array, or None if it depends on the images.
    """
    seen, waiting = set(), [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        if operation.type == "Placeholder":
            return None
        if operation.type not in _OF_SHAPES:
            waiting.extend(t.op for t in operation.inputs)
    given = [o.outputs[0] for o in tensor.graph.get_operations() if o.type == "Placeholder"]
    with tf.compat.v1.Session(graph=tensor.graph) as session:
        return session.run(tensor, {t: np.zeros((1, *t.shape[1:]), "float32") for t in given})


def _static(tensor):
    value = static_value(tensor)
    if value is None:
        raise ValueError(f"A size of images is computed from the images. Received: {tensor.name!r}")
    return value


def _matrix(resize, size, axis):
    """Return the `(size, new size)` matrix by which an axis of images is resized."""
    # One image for each unit vector, a single place wide, so that nothing is mixed along the other axis.
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        basis = tf.expand_dims(tf.expand_dims(tf.eye(size), 3 - axis), 3)
        return np.reshape(session.run(resize(basis, [axis != 1, axis != 2])), (size, -1))


def _by_matrices(images, resize):
    """Resize as two multiplications by matrices, which is what any separable resizing is.

    Runtimes differ in what their resizing does at the edges, and few know every kernel.

    Args:
        images: `(batch, H, W, C)` tensor of static sizes.
        resize: function `(x, keep)` that resizes along the axes where `keep` is False, and leaves the
            other, of size 1, alone.
    """
    height, width, channels = images.shape[1:]
    rows, columns = _matrix(resize, height, 1).T, _matrix(resize, width, 2).T
    x = tf.matmul(rows, tf.reshape(images, (-1, height, width * channels)))
    x = tf.matmul(columns, tf.reshape(x, (-1, width, channels)))
    return tf.reshape(x, (-1, len(rows), len(columns), channels))
