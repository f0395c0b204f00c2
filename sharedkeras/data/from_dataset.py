"""Whatever Keras trains on, as arrays to judge."""

import itertools
from collections.abc import Mapping

import keras
import numpy as np

from sharedkeras.arguments import need_count, plain
from sharedkeras.data.check_images import check_images
from sharedkeras.data.check_labels import check_labels
from sharedkeras.data.dataset import Dataset


def from_dataset(dataset, *, steps=None, num_classes=None, label_names=None):
    """Read batches of images and labels into memory, where they are numbered and can be judged.

    An evaluation refers to examples by number, reads them several times and in several orders; so it
    takes arrays, and this is how a pipeline becomes arrays:

        x, y, _ = data.from_dataset(pipeline)
        report = evaluation.autoattack(network, x, y)

    Args:
        dataset: `tf.data.Dataset`, `keras.utils.PyDataset`, PyTorch `DataLoader`, generator or any
            iterable of batches `(x, y)` or `{"image": x, "label": y}`: images `(batch, H, W, C)`, floats
            in [0, 1], and integer labels `(batch,)`.
        steps: int, how many batches are read at most; required where the data does not say how many it
            has. None (default) reads all.
        num_classes: int, the number of classes, to check the labels against, or None.
        label_names: sequence of the classes' names; by default their numbers.

    Returns:
        `Dataset`: `x` float32 `(N, H, W, C)`, `y` int32 `(N,)`, `label_names`.

    Raises:
        TypeError: if images or labels are not of the right type.
        ValueError: if they are not images and labels, or there is no end to them.
    """
    if steps is not None:
        need_count(steps=steps)
    images, labels = [], []
    for batch in itertools.islice(_batches(dataset, steps), plain(steps)):
        x, y = split_batch(batch)
        x = check_images(x)
        images.append(x)
        labels.append(check_labels(y, num_classes, size=len(x)))
    if not images:
        raise ValueError(f"There must be at least one batch. Received: none from {type(dataset)}")
    shapes = sorted({x.shape[1:] for x in images})
    if len(shapes) > 1:
        raise ValueError(
            f"All images must have one shape. Received: shapes {shapes[0]} and {shapes[-1]}"
        )
    y = np.concatenate(labels)
    if label_names is None:
        label_names = map(str, range(plain(num_classes) or int(y.max()) + 1))
    return Dataset(np.concatenate(images), y, tuple(label_names))


def split_batch(batch):
    """Return the images and the labels of a batch as Keras or TensorFlow Datasets give it.

    Args:
        batch: `(x, y)`, `(x, {"label": y, ...})` or `{"image": x, "label": y, ...}`.

    Returns:
        `(x, y)`, as they are.

    Raises:
        ValueError: if the batch is none of these.
    """
    if isinstance(batch, Mapping):
        if not {"image", "label"} <= set(batch):
            raise ValueError(
                "A batch must be (images, labels), or have the entries 'image' and 'label'. "
                f"Received: entries {sorted(batch)}"
            )
        return batch["image"], batch["label"]
    if not isinstance(batch, list | tuple) or not 2 <= len(batch) <= 3:
        what = (
            f"{len(batch)} parts" if isinstance(batch, list | tuple) else f"one {type(batch).__name__}"
        )
        raise ValueError(f"A batch must be (images, labels). Received: {what}")
    if len(batch) == 3 and batch[2] is not None:
        raise ValueError(
            "Sample weights mean nothing in an accuracy. Expected batches (images, labels). "
            "Received: 3 parts"
        )
    x, y = batch[:2]
    if isinstance(y, Mapping):
        if "label" not in y:
            raise ValueError(f"The labels must have the entry 'label'. Received: entries {sorted(y)}")
        y = y["label"]
    return x, y


def _batches(dataset, steps):
    if isinstance(dataset, keras.utils.PyDataset):
        # Not by iteration, which need not end: Keras asks for numbers only.
        count = dataset.num_batches
        _need_end(dataset, count is not None, steps)
        return (dataset[i] for i in (itertools.count() if count is None else range(count)))
    try:
        batches = iter(dataset)
    except TypeError:
        raise TypeError(
            "`dataset` must give batches (images, labels): a tf.data.Dataset, a keras.utils.PyDataset "
            f"or an iterable. Received: dataset={dataset!r} of type {type(dataset).__name__}"
        ) from None
    try:
        len(dataset)
    except TypeError:  # A generator has no length, nor has a pipeline that repeats for ever.
        _need_end(dataset, False, steps)
    return batches


def _need_end(dataset, known, steps):
    if not known and steps is None:
        raise ValueError(
            "The data does not say how many batches it has. Say how many to read, which gives arrays: "
            "`x, y, _ = sharedkeras.data.from_dataset(batches, steps=n)`. "
            f"Received: {type(dataset).__name__} of unknown length"
        )
