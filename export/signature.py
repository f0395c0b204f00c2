"""What a network takes and gives, checked before anything is written."""

import keras
import numpy as np

from export.precision import full_precision

_BATCH_SIZE = 100  # Divides 1,000 images: one shape, compiled once.
_PROBES = 6
_SUM_TOLERANCE = 1e-5  # float32 softmax over a thousand classes sums to 1 within some 1e-6.


def describe(network, select=None):
    """Read input shape and number of classes off a network.

    Args:
        network: built functional `keras.Model` from `(batch, H, W, C)` images to logits.
        select: str or int, the output that is the logits, where the network has several.

    Returns:
        `(input_shape, num_classes)`: tuple `(H, W, C)` of ints, and int.

    Raises:
        TypeError: if `network` is no Keras model.
        ValueError: if it is not built, or takes or gives something else.
    """
    if not isinstance(network, keras.Model):
        raise TypeError(
            "`network` must be a keras.Model from images to logits. "
            f"Received: network={network!r} of type {type(network).__name__}"
        )
    inputs = getattr(network, "inputs", None)
    if not network.built or not inputs:
        raise ValueError(
            "The network must be a built functional model; give it a `keras.Input`. "
            f"Received: network={network.name!r} of type {type(network).__name__}"
        )
    shape = tuple(inputs[0].shape)
    if len(inputs) != 1 or len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            "The network must take one tensor of shape (batch, height, width, channels), all but the "
            f"batch known. Received: input shapes {[tuple(i.shape) for i in inputs]}"
        )
    if shape[0] is not None:
        raise ValueError(f"The network must leave the batch size open. Received: input shape {shape}")
    output = tuple(pick(_structures(network)[1], select).shape)
    if len(output) != 2 or output[1] is None:
        raise ValueError(
            f"The network must give logits of shape (batch, K). Received: output shape {output}"
        )
    return shape[1:], output[1]


def forward(network, images, select=None):
    """Compute the logits in inference mode, in a graph that is being traced.

    Args:
        network: functional `keras.Model`.
        images: `(batch, H, W, C)` tensor.
        select: str or int, the output to take.

    Returns:
        `(batch, K)` tensor.
    """
    return pick(network(_packed(network, images), training=False), select)


def _packed(network, images):
    # A model made with a list or dict of inputs wants one.
    return keras.tree.pack_sequence_as(_structures(network)[0], [images])


def _structures(network):
    # A Sequential knows its input and output by these names only after a first call.
    if isinstance(network, keras.Sequential):
        return network.inputs[0], network.outputs[0]
    return network.input, network.output


def pick(outputs, select):
    """Take the logits out of a network's outputs.

    Args:
        outputs: tensor, or list or dict of tensors.
        select: key of the dict, number in the list, or None where there is only one output.

    Returns:
        The tensor.

    Raises:
        ValueError: if there are several outputs and `select` names none of them.
    """
    if isinstance(outputs, dict):
        known = sorted(outputs)
    elif isinstance(outputs, list | tuple):
        known = list(range(len(outputs)))
    elif select is None:
        return outputs
    else:
        raise ValueError(f"The network has one output only. Received: select={select!r}")
    if select is None and len(known) == 1:
        return outputs[known[0]]
    if select not in known:
        raise ValueError(
            f"The network has the outputs {known}; `select` must name one. Received: select={select!r}"
        )
    return outputs[select]


def probe_images(input_shape):
    """Make images for a parity check where no real ones are at hand.

    Args:
        input_shape: tuple `(H, W, C)` of ints.

    Returns:
        `(8, H, W, C)` float32 array in [0, 1]: six of uniform noise, one all 0, one all 1.
    """
    noise = np.random.default_rng(0).random((_PROBES, *input_shape), dtype="float32")
    return np.concatenate([noise, np.zeros_like(noise[:1]), np.ones_like(noise[:1])])


def reference_logits(network, x, select=None):
    """Compute logits with Keras, in inference mode and full float32 precision.

    Args:
        network: `keras.Model`.
        x: `(n, H, W, C)` float32 array in [0, 1].
        select: str or int, the output to take.

    Returns:
        `(n, K)` float32 array.

    Raises:
        ValueError: if the network gives NaN or infinity, or probabilities instead of logits.
    """
    with full_precision():
        # Compiled: JAX, which compiles every operation by itself otherwise, takes ten times longer.
        # Batch by batch: `predict` would read them through tf.data, whose autotuning stalls.
        parts = [
            network.predict_on_batch(_packed(network, x[start : start + _BATCH_SIZE]))
            for start in range(0, len(x), _BATCH_SIZE)
        ]
        outputs = keras.tree.map_structure(lambda *part: np.concatenate(part), *parts)
    logits = np.asarray(pick(outputs, select), dtype="float32")
    if not np.isfinite(logits).all():
        raise ValueError(f"The network gives NaN or infinity. Received: network={network.name!r}")
    in_range = logits.min() >= 0 and logits.max() <= 1
    if in_range and np.abs(logits.sum(axis=-1) - 1).max() <= _SUM_TOLERANCE:
        raise ValueError(
            "The network returns probabilities; logits are expected. Leave out its last softmax: the "
            f"exported file gives both. Received: network={network.name!r}"
        )
    return logits
