"""Data sets from one NumPy archive, for machines without TensorFlow Datasets."""

import zipfile

import numpy as np

from sharedkeras.data.splits import span


def read_npz(path, split, validation_size=0):
    """Read one split of an archive of `x_train, y_train, x_test, y_test, label_names`.

    The archive that Keras itself downloads for MNIST is one of these: the channel axis and
    `label_names` may be missing.

    Args:
        path: `pathlib.Path` of the file.
        split: "train", "validation" or "test".
        validation_size: int, how many examples at the end of the training images are for validation.

    Returns:
        `(images, labels, label_names)`: `(N, H, W, C)` uint8, `(N,)` integers, and a tuple of strings
        or None where the file has no names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no such archive, or its arrays are not what is expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No such file. Expected an .npz archive. Received: name={str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"The file is not an .npz archive. Received: name={str(path)!r}")
    with np.load(path, allow_pickle=False) as archive:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(archive.files)
        if missing:
            raise ValueError(
                "The archive must hold x_train, y_train, x_test and y_test. "
                f"Received: {str(path)!r} without {sorted(missing)}"
            )
        train_labels = archive["y_train"]
        stored, start, stop = span(split, len(train_labels), validation_size)
        labels = train_labels if stored == "train" else archive["y_test"]
        images = archive[f"x_{stored}"]
        label_names = _label_names(archive)
    _check(path, stored, images, labels, label_names)
    if images.ndim == 3:
        images = images[..., None]
    return images[start:stop], labels[start:stop], label_names


def _label_names(archive):
    if "label_names" not in archive.files:
        return None
    stored = archive["label_names"].tolist()
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in stored)


def _check(path, stored, images, labels, label_names):
    if images.dtype != "uint8" or images.ndim not in (3, 4):
        raise ValueError(
            f"x_{stored} must be uint8 images, (N, H, W, C) or (N, H, W). "
            f"Received: dtype {images.dtype}, shape {images.shape} in {str(path)!r}"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise ValueError(
            f"y_{stored} must be {len(images)} integers, one for each image. "
            f"Received: dtype {labels.dtype}, shape {labels.shape} in {str(path)!r}"
        )
    limit = len(label_names) if label_names is not None else None
    if labels.size and (labels.min() < 0 or (limit is not None and labels.max() >= limit)):
        raise ValueError(
            f"y_{stored} must number the labels from 0 on, in the order of label_names. "
            f"Received: labels {labels.min()}..{labels.max()}, "
            f"{'no' if limit is None else limit} names in {str(path)!r}"
        )
