"""Data sets from one NumPy archive, for machines without TensorFlow Datasets."""

from sharedkeras.data.splits import span
from sharedkeras.files import describe_archive, read_archive

_WHAT = "a data set"
_SPLITS = ("train", "test")
_FLOATS = " Floats in [0, 1] are stored as `np.rint(255 * x).astype('uint8')`."
_NAMES = "label_names"


def read_npz(path, split, validation_size=0):
    """Read one split of an archive of `x_train, y_train, x_test, y_test, label_names`.

    The archive that Keras itself downloads for MNIST is one of these: the channel axis and
    `label_names` may be missing, and so may the split that is not asked for.

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
    described = describe_archive(
        path, what=_WHAT, required=_arrays("test" if split == "test" else "train")
    )
    _check_images(path, described)
    size = described["y_train"][0][0] if "y_train" in described else None
    stored, start, stop = span(split, size, validation_size)
    arrays = read_archive(path, what=_WHAT, only=(*_arrays(stored), _NAMES))
    images, labels = arrays[f"x_{stored}"], arrays[f"y_{stored}"].reshape(-1)
    label_names = _label_names(path, arrays)
    _check_labels(path, stored, labels, label_names)
    if images.ndim == 3:
        images = images[..., None]
    return images[start:stop], labels[start:stop], label_names


def _check_images(path, described):
    """Refuse images and labels of the wrong shapes and types, before any of them is read."""
    there = [stored for stored in _SPLITS if set(_arrays(stored)) & set(described)]
    for stored in there:
        missing = set(_arrays(stored)) - set(described)
        if missing:
            raise ValueError(
                f"x_{stored} and y_{stored} must both be there, or neither. "
                f"Received: {sorted(described)[:8]} in {str(path)!r}"
            )
        shape, dtype = described[f"x_{stored}"]
        if dtype != "uint8" or len(shape) not in (3, 4) or 0 in shape:
            raise ValueError(
                f"x_{stored} must be uint8 images, (N, H, W, C) or (N, H, W)."
                f"{_FLOATS if dtype.kind == 'f' else ''} "
                f"Received: dtype {dtype}, shape {shape} in {str(path)!r}"
            )
        labels, kind = described[f"y_{stored}"]
        if labels not in ((shape[0],), (shape[0], 1)) or kind.kind not in "iu":
            raise ValueError(
                f"y_{stored} must be {shape[0]} integers, one for each image. "
                f"Received: dtype {kind}, shape {labels} in {str(path)!r}"
            )
    sizes = [described[f"x_{stored}"][0][1:] for stored in there]
    if sizes[0] != sizes[-1]:
        raise ValueError(
            "x_train and x_test must hold images of one size. "
            f"Received: {sizes[0]} and {sizes[1]} in {str(path)!r}"
        )


def _arrays(stored):
    return f"x_{stored}", f"y_{stored}"


def _label_names(path, arrays):
    if _NAMES not in arrays:
        return None
    stored = arrays[_NAMES]
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in stored.tolist()]
    except (UnicodeDecodeError, TypeError):
        names = None
    if (
        stored.dtype.kind not in "SU"
        or stored.ndim != 1
        or names is None
        or len(set(names)) < len(names)
    ):
        raise ValueError(
            f"{_NAMES} must be distinct strings (K,), in UTF-8 where they are bytes. "
            f"Received: {_NAMES} of {stored.dtype} and shape {stored.shape} in {str(path)!r}"
        )
    return tuple(names)


def _check_labels(path, stored, labels, label_names):
    limit = len(label_names) if label_names is not None else None
    if labels.min() < 0 or (limit is not None and labels.max() >= limit):
        raise ValueError(
            f"y_{stored} must number the labels from 0 on, in the order of {_NAMES}. "
            f"Received: labels {labels.min()}..{labels.max()}, "
            f"{'no' if limit is None else limit} names in {str(path)!r}"
        )
