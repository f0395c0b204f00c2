"""Data sets as arrays, by name."""

import os
import pathlib

import numpy as np

from sharedkeras.data.dataset import Dataset
from sharedkeras.data.info import info
from sharedkeras.data.locate import locate
from sharedkeras.data.read_npz import read_npz
from sharedkeras.data.read_prepared import read_prepared
from sharedkeras.data.splits import check_split

EMBEDDED = pathlib.Path(__file__).parent / "embedded" / "mnist_mini.npz"


def load(name, split, *, data_dir=None, download=False, validation_size=0):
    """Load one split of a data set into memory.

    Attacks and verdicts refer to examples by number, so the order is fixed: that in which the data is
    stored. For TensorFlow Datasets it is the order of `tfds.load(..., shuffle_files=False)`, which
    differs from an `.npz` file's: the same validation size then cuts off other images.

    Args:
        name: one of `names()`, or a path ending in `.npz` to an archive of uint8 images `x_train`,
            `x_test`, integers `y_train`, `y_test` and, if there, strings `label_names`.
        split: "train", "validation" (the last `validation_size` training examples, which "train" then
            lacks) or "test".
        data_dir: directory with prepared data sets or with `<name>.npz`. None (default) takes the
            environment's `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`.
        download: bool, whether TensorFlow Datasets may download what is absent.
        validation_size: int, number of examples, at least 0 and less than there are for training.

    Returns:
        `Dataset`: `x` float32 `(N, H, W, C)` in `[0, 1]`, `y` int32 `(N,)`, `label_names`.

    Raises:
        ValueError: if name, split or validation size is none that exists, or a file is malformed.
        FileNotFoundError: if the data is absent; says where it was looked for and how to get it.
    """
    path, known = _source(name)
    check_split(split, validation_size)
    if path is None:
        path = locate(name, data_dir, download)
    read = read_npz if path.suffix == ".npz" else read_prepared
    images, labels, label_names = read(path, split, validation_size)
    if known is not None:
        label_names = label_names or known.label_names
        if images.shape[1:] != known.input_shape or label_names != known.label_names:
            raise ValueError(
                f"What is stored is not {name}. Expected images {known.input_shape} and labels "
                f"{known.label_names}. Received: images {images.shape[1:]} and labels {label_names} "
                f"from {path}"
            )
    elif label_names is None:
        label_names = tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))
    x = np.divide(images, np.float32(255), dtype="float32")
    return Dataset(x, labels.astype("int32"), label_names)


def _source(name):
    """Return the file where the name tells it, else None, and what is known of the data set."""
    if isinstance(name, str | os.PathLike) and os.fspath(name).endswith(".npz"):
        return pathlib.Path(name).expanduser(), None
    known = info(name)
    return (EMBEDDED if name == "mnist-mini" else None), known
