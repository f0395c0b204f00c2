"""Data sets that TensorFlow Datasets has prepared on this machine."""

import os
import sys
import warnings

import numpy as np

from sharedkeras.data.splits import span
from sharedkeras.data.stack_images import stack_images


def read_prepared(directory, split, validation_size=0, image_size=None):
    """Read one split of a directory that TensorFlow Datasets has prepared.

    From the directory itself, not by name, so that nothing is ever downloaded on the way. The order
    is that of `tfds.load(..., shuffle_files=False)`.

    Args:
        directory: `pathlib.Path` of `<data_dir>/<name>/<version>`.
        split: "train", "validation" or "test".
        validation_size: int, how many examples at the end of the training images are for validation.
        image_size: `(H, W)` to which images are scaled, or None.

    Returns:
        `(images, labels, label_names)`: `(N, H, W, C)` with values up to 255, `(N,)` int64, tuple of
        strings.

    Raises:
        ImportError: if TensorFlow Datasets is not installed.
        ValueError: if it holds no images with a label each, has other splits, or validation would leave
            nothing to train on.
    """
    tfds = import_tfds()
    builder = _builder(tfds, directory)
    train_size = builder.info.splits["train"].num_examples
    stored, start, stop = span(split, train_size, validation_size)
    shape = builder.info.features["image"].shape
    dataset = builder.as_dataset(
        split=f"{stored}[{start}:{'' if stop is None else stop}]",
        # Images of many sizes make no batch.
        batch_size=None if None in shape else -1,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({"image": True, "label": True}),
    )
    examples = tfds.as_numpy(dataset)
    if None in shape:
        examples = list(examples)
        images = stack_images([example["image"] for example in examples], image_size, directory)
        labels = np.array([example["label"] for example in examples])
    else:
        images, labels = examples["image"], examples["label"]
        if image_size is not None:
            images = stack_images(images, image_size, directory)
    return images, labels, tuple(builder.info.features["label"].names)


def describe_prepared(directory, image_size=None):
    """Return `(input_shape, label_names)` of a prepared directory, reading no image."""
    features = _builder(import_tfds(), directory).info.features
    height, width, channels = features["image"].shape
    if image_size is None and None in (height, width):
        raise ValueError(
            "The images differ in size. Say to which they are scaled: image_size=(height, width). "
            f"Received: {str(directory)!r}"
        )
    names = tuple(features["label"].names)
    return (*(image_size or (height, width)), channels), names


def _builder(tfds, directory):
    builder = tfds.builder_from_directory(str(directory))
    features, splits = builder.info.features, list(builder.info.splits)
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if not all(name in features and isinstance(features[name], kind) for name, kind in kinds.items()):
        raise ValueError(
            "The data set must have the features 'image', 8-bit pixels, and 'label', a class for each "
            f"image. Received: features {sorted(features)} in {str(directory)!r}"
        )
    pixels = features["image"].dtype
    if pixels != np.uint8:
        raise ValueError(
            f"Images must have 8 bits per channel. Received: {pixels} in {str(directory)!r}"
        )
    if not {"train", "test"} <= set(splits):
        raise ValueError(
            "The data set must have the splits 'train' and 'test'; write what it has as arrays into an "
            f".npz file. Received: splits {splits} in {str(directory)!r}"
        )
    return builder


def import_tfds():
    """Import TensorFlow Datasets, and with it TensorFlow, at the moment it is needed.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed; says what to do without it.
    """
    if "tensorflow" not in sys.modules:
        # TensorFlow only decodes images here. It must neither take the whole GPU from the backend
        # nor greet the user with notes on its build; whoever has set these knows better.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        with warnings.catch_warnings():
            # What its own imports deprecate is nothing that our user can change.
            warnings.simplefilter("ignore")
            import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "Reading this data set needs the package tensorflow-datasets (and TensorFlow). Without "
            "it, put the data set as `<name>.npz` into `data_dir`, or load 'mnist-mini', which is "
            f"embedded. The import failed with: {error}"
        ) from error
    return tensorflow_datasets
