"""The three kinds of stored data, told by their place."""

from sharedkeras.data.read_folder import describe_folder, read_folder
from sharedkeras.data.read_npz import read_npz
from sharedkeras.data.read_prepared import describe_prepared, read_prepared
from sharedkeras.files import read_archive

MOST_LABELS = 2**20


def read(path, split, validation_size=0, image_size=None):
    """Read one split of what `find` has found.

    Args:
        path: `pathlib.Path` of an `.npz` file, of a prepared directory or of a folder of images.
        split: "train", "validation" or "test".
        validation_size: int, how many examples at the end of the training images are for validation.
        image_size: `(H, W)` to which images are scaled, or None.

    Returns:
        `(images, labels, label_names)`: `(N, H, W, C)` with values from 0 to 255, `(N,)` integers, tuple
        of strings.
    """
    if path.suffix == ".npz":
        if image_size is not None:
            raise ValueError(
                "The images of an .npz file have one size already. "
                f"Expected: image_size=None. Received: image_size={image_size}, {str(path)!r}"
            )
        images, labels, label_names = read_npz(path, split, validation_size)
        return images, labels, label_names or _numbered(path)
    if _is_prepared(path):
        return read_prepared(path, split, validation_size, image_size)
    return read_folder(path, split, validation_size, image_size)


def describe(path, image_size=None):
    """Return `(input_shape, label_names)` of what `find` has found."""
    if path.suffix == ".npz":
        images, _, label_names = read(path, "test", image_size=image_size)
        return images.shape[1:], label_names
    if _is_prepared(path):
        return describe_prepared(path, image_size)
    return describe_folder(path, image_size)


def _is_prepared(path):
    return (path / "dataset_info.json").is_file()


def _numbered(path):
    # Both splits, since one of them may lack the last classes.
    labels = read_archive(path, what="a data set", only=("y_train", "y_test"))
    highest = max(int(values.max(initial=0)) for values in labels.values())
    if highest >= MOST_LABELS:
        raise ValueError(
            f"Labels without label_names must be below {MOST_LABELS:,}. "
            f"Received: a label {highest:,} in {str(path)!r}"
        )
    return tuple(str(label) for label in range(highest + 1))
