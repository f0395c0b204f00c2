"""Data sets as arrays, by name or path."""

import numpy as np

from sharedkeras.arguments import need_count, plain
from sharedkeras.data.dataset import Dataset
from sharedkeras.data.known import KNOWN
from sharedkeras.data.locate import find
from sharedkeras.data.source import read
from sharedkeras.data.splits import check_split

_SORTED = 20  # So many labels are hardly in order by chance.


def load(name, split, *, data_dir=None, download=False, validation_size=0, image_size=None):
    """Load one split of a data set into memory.

    Attacks and verdicts refer to examples by number, so the order is fixed: that in which the data is
    stored. For TensorFlow Datasets it is the order of `tfds.load(..., shuffle_files=False)`, which
    differs from an `.npz` file's: the same validation size then cuts off other images.

    Args:
        name: one of `names()`; or a path ending in `.npz` to an archive of uint8 images `x_train`,
            `x_test`, integers `y_train`, `y_test` and, if there, strings `label_names`; or the path of a
            directory with `train/<class>/<image>` and `test/<class>/<image>`, or of test images only,
            `<class>/<image>`; or the name of a data set with image and label that TensorFlow Datasets
            knows, such as "fashion_mnist" or "emnist/letters".
        split: "train", "validation" (the last `validation_size` training examples, which "train" then
            lacks) or "test".
        data_dir: directory with prepared data sets or with `<name>.npz`. None (default) takes the
            environment's `TFDS_DATA_DIR`, or else `~/tensorflow_datasets`.
        download: bool, whether TensorFlow Datasets may download what is absent.
        validation_size: int, number of examples, at least 0 and less than there are for training.
        image_size: `(H, W)` to which images are scaled (bilinear), for directories and data sets whose
            images differ in size. None (default) scales nothing.

    Returns:
        `Dataset`: `x` float32 `(N, H, W, C)` in `[0, 1]`, `y` int32 `(N,)`, `label_names`.

    Raises:
        ValueError: if name, split or validation size is none that exists, or a file is malformed.
        FileNotFoundError: if the data is absent; says where it was looked for and how to get it.
    """
    check_split(split, validation_size)
    validation_size, image_size = int(validation_size), _checked_size(image_size)
    path = find(name, data_dir, download)
    images, labels, label_names = read(path, split, validation_size, image_size)
    if isinstance(name, str) and name in KNOWN:
        known = KNOWN[name]
        # An archive without names numbers its labels.
        numbered = label_names == tuple(map(str, range(len(label_names))))
        fits = label_names == known.label_names or (numbered and len(label_names) <= known.num_classes)
        if (
            images.shape[1:] != (*(image_size or known.input_shape[:2]), known.input_shape[2])
            or not fits
        ):
            raise ValueError(
                f"What is stored is not {name}. Expected images {known.input_shape} and labels "
                f"{known.label_names}. Received: images {images.shape[1:]} and labels {label_names} "
                f"from {path}"
            )
        label_names = known.label_names
    if validation_size and len(labels) >= _SORTED and len(set(label_names)) > 1:
        _refuse_sorted(labels, path)
    x = np.divide(images, np.float32(255), dtype="float32")
    return Dataset(x, labels.astype("int32"), label_names)


def _refuse_sorted(labels, path):
    if np.all(labels[1:] >= labels[:-1]):
        raise ValueError(
            "The training examples are sorted by class, so that the last of them, which are for "
            "validation, are of few classes. Shuffle what is stored, images and labels alike. "
            f"Received: labels {labels[:5].tolist()} ... {labels[-5:].tolist()} in {str(path)!r}"
        )


def _checked_size(image_size):
    if image_size is None:
        return None
    size = tuple(map(plain, image_size)) if isinstance(image_size, list | tuple | np.ndarray) else ()
    if len(size) != 2:
        raise ValueError(f"`image_size` must be (height, width). Received: image_size={image_size!r}")
    need_count(height=size[0], width=size[1])
    return size
