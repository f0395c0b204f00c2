"""What training data must be: checked before the first update, and in the graph afterwards."""

import inspect
import types
from collections.abc import Mapping

import keras
import numpy as np
from keras import layers, ops

from sharedkeras.data import check_images, check_labels
from sharedkeras.models import FrozenClassifier
from sharedkeras.objectives import Objective

_PROBABLE = 1e-3  # How far from 1 the sum of probabilities may be by rounding.
_WHOLE = {1: "sum to 1", 100: "sum to 100"}


def full_precision():
    """Return the type in which images are attacked and losses computed: never half precision."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


def checked(x, y, image_shape, num_classes):
    """Check images and labels as arrays.

    Args:
        x: `(N, H, W, C)` floats in [0, 1].
        y: `(N,)` integers in 0..K-1, or a mapping with them under `"label"`.
        image_shape: tuple `(H, W, C)` that the network takes, with None for any size; None if not known.
        num_classes: int K, or None where it is not known.

    Returns:
        `(x, y)` as NumPy arrays: images in full precision, labels int32.

    Raises:
        TypeError: if images are not floats or labels no integers.
        ValueError: if their shapes or values are not those of images and labels.
    """
    x = ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)
    if keras.backend.is_float_dtype(x.dtype.name):
        x = x.astype(full_precision(), copy=False)
    x = check_images(x)
    if image_shape is not None and not _fits(image_shape, x.shape[1:]):
        raise ValueError(
            f"`x` must hold images of the network's input shape, {image_shape} (H, W, C). "
            f"Received: x of shape {x.shape}"
        )
    if not isinstance(y, Mapping):
        return x, check_labels(y, num_classes, size=len(x))
    if "label" not in y:
        raise ValueError(f"The labels must have the entry 'label'. Received: entries {sorted(y)}")
    return x, {**y, "label": check_labels(y["label"], num_classes, size=len(x))}


def _fits(wanted, given):
    return len(wanted) == len(given) and all(w in (None, g) for w, g in zip(wanted, given, strict=True))


def first_batch(dataset):
    """Read the first batch of what `fit` is given instead of arrays.

    Args:
        dataset: `tf.data.Dataset`, `keras.utils.PyDataset`, generator or other iterable of batches.

    Returns:
        `((x, y), dataset)`: the batch, and the data with that batch still in it.

    Raises:
        ValueError: if there is no batch, or a batch is not images and labels.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        batch = dataset[0]
    elif isinstance(dataset, types.GeneratorType):
        batch = next(dataset, None)
        dataset = _put_back(batch, dataset)
    else:
        batch = next(iter(dataset), None)
    if batch is None:
        raise ValueError(f"There must be at least one batch. Received: none from {type(dataset)}")
    if isinstance(batch, Mapping):
        raise ValueError(
            "A batch must be a pair (images, labels), such as "
            "`dataset.map(lambda batch: (batch['image'], batch['label']))` gives. "
            f"Received: a mapping of {sorted(batch)}"
        )
    if not isinstance(batch, list | tuple) or not 2 <= len(batch) <= 3:
        raise ValueError(
            f"A batch must be a pair (images, labels). Received: {type(batch).__name__} of "
            f"{len(batch) if isinstance(batch, list | tuple) else 1}"
        )
    refuse_weights(sample_weight=batch[2] if len(batch) == 3 else None)
    return batch[:2], dataset


def _put_back(first, rest):
    yield first
    yield from rest


def arguments(method, *args, **options):
    """Return by name what a method of Keras would be called with, so that some of it can be replaced."""
    bound = dict(inspect.signature(method).bind(*args, **options).arguments)
    return {**bound, **bound.pop("kwargs", {})}


def refuse_weights(**values):
    """Refuse sample weights and class weights by name.

    Raises:
        ValueError: if one is given.
    """
    for name, value in values.items():
        if value is not None:
            raise ValueError(
                "Sample weights and class weights are not supported, since objectives compare whole "
                "batches: repeat the examples that should count more. "
                f"Received: {name} of type {type(value).__name__}"
            )


def check_objective(objective):
    """Check that something is an objective, before it is asked for anything.

    Raises:
        TypeError: saying what to pass.
    """
    if isinstance(objective, type) or not isinstance(objective, Objective):
        raise TypeError(
            "`objective` must be an objective, such as sharedkeras.objectives.TRADES() or "
            "sharedkeras.objectives.get(name)(). "
            f"Received: objective={objective!r}"
        )


def check_network(network):
    """Check that a network can be trained: logits out, weights in full precision.

    Args:
        network: `keras.Model`.

    Returns:
        `FrozenClassifier` of the network.

    Raises:
        ValueError: if it ends in probabilities, its weights are in half precision, or the backend does
            not compute in the precision that Keras names.
    """
    view = FrozenClassifier(network)
    if view.last_step in ("softmax", "Softmax", "sigmoid", "Sigmoid"):
        raise ValueError(probabilities(network, f"its last step is {view.last_step!r}"))
    if view.num_classes is not None and view.num_classes < 2:
        raise ValueError(
            "`network` must give a logit for each of at least 2 classes. "
            f"Received: network={network.name!r} with output shape {view.output.shape}"
        )
    half = ("float16", "bfloat16")
    if keras.config.floatx() in half:
        raise ValueError(
            "Training in half precision loses small updates. Keep floatx at 'float32', and compute "
            "in half precision by keras.config.set_dtype_policy('mixed_float16'). "
            f"Received: keras.config.floatx() == {keras.config.floatx()!r}"
        )
    if keras.backend.standardize_dtype(ops.zeros((), dtype=full_precision()).dtype) != full_precision():
        raise ValueError(
            "The backend computes in float32 what Keras calls float64; JAX takes the environment "
            "variable JAX_ENABLE_X64=1. Set it, or keras.config.set_floatx('float32'). "
            f"Received: keras.config.floatx() == {keras.config.floatx()!r}"
        )
    for variable in network.trainable_variables:
        if variable.dtype in half:
            raise ValueError(
                "Weights in half precision lose small updates. Build the network under the policy "
                "'mixed_float16' or 'mixed_bfloat16', which keeps its weights in float32. "
                f"Received: network={network.name!r} with {variable.path!r} in {variable.dtype}"
            )
    return view


def layers_of(network):
    """List the layers of a network, those of networks inside it among them."""
    found = []
    for layer in network.layers:
        found += [layer, *(layers_of(layer) if isinstance(layer, keras.Model) else ())]
    return found


def ends_in_a_product(view):
    """Tell whether a network's last step is a layer of weights without a function behind them."""
    step = view.last_operation
    return isinstance(step, layers.Layer) and bool(step.weights) and view.last_step == "linear"


def check_output(view, x):
    """Check the logits of some images, for networks whose end does not tell.

    Args:
        view: `FrozenClassifier`.
        x: `(n, H, W, C)` array.

    Returns:
        int, the number of classes.

    Raises:
        ValueError: if they are probabilities or no logits of several classes.
    """
    logits = ops.convert_to_numpy(view.predict(x))
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            "`network` must give logits of shape (batch, classes), at least 2 classes. "
            f"Received: output of shape {logits.shape}"
        )
    for whole, said in _WHOLE.items():
        if logits.min() >= 0 and np.abs(logits.sum(axis=1) / whole - 1).max() < _PROBABLE:
            raise ValueError(probabilities(view.network, f"the outputs are positive and {said}"))
    return logits.shape[1]


def probabilities(network, sign):
    """Return the message that a network of probabilities gets."""
    return (
        "`network` must give logits, not probabilities, whose logarithm would be taken twice. Build it "
        "without the last activation, `layers.Dense(num_classes)`, or take the network that "
        f"`sharedkeras.models.logits_of(network)` returns. Received: network={network.name!r}, of which "
        f"{sign}"
    )


def broken(x, label, num_classes):
    """Count in the graph how a batch breaks the contract.

    Args:
        x: `(batch, H, W, C)` float tensor.
        label: `(batch,)` int32 tensor.
        num_classes: int.

    Returns:
        `(2,)` int32 tensor of zeros and ones: whether an image is outside [0, 1] or not finite, and
        whether a label is no class.
    """
    # A comparison with NaN is false.
    images = ops.all(ops.logical_and(x >= 0.0, x <= 1.0))
    labels = ops.all(ops.logical_and(label >= 0, label < num_classes))
    return ops.cast(ops.logical_not(ops.stack([images, labels])), "int32")


class Contract(keras.callbacks.Callback):
    """Stops a training whose later batches broke the contract, before anything of the epoch is kept.

    Raises:
        ValueError: at the end of the epoch.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Read what the graph has counted."""
        images, labels = ops.convert_to_numpy(self.model.broken.value)
        if images or labels:
            self.model.broken.assign([0, 0])
            said = ["images outside [0, 1] or not finite"] * bool(images)
            said += [f"labels outside 0..{self.model.num_classes - 1}"] * bool(labels)
            raise ValueError(
                f"A batch of epoch {epoch + 1} held {' and '.join(said)}, and the network was updated "
                "with it. All batches must be as the first one was: floats in [0, 1] and integer labels."
            )
