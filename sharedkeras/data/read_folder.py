"""Data sets from a directory with a folder of images for each class."""

import contextlib
import itertools
import os
from typing import NamedTuple

import numpy as np

from sharedkeras.data.splits import span
from sharedkeras.data.stack_images import different_sizes, stack_images

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION, _SIDEWAYS = 274, (5, 6, 7, 8)  # EXIF's tag, and its values that swap the sides.


class _Survey(NamedTuple):
    files: dict  # Of each stored split, the paths in the order of the examples.
    labels: dict
    label_names: tuple
    sizes: list
    channels: int


def read_folder(directory, split, validation_size=0, image_size=None):
    """Read one split of a directory of images.

    The layout is that of `keras.utils.image_dataset_from_directory`, once for each split:
    `<directory>/train/<class>/<image>` and `<directory>/test/<class>/<image>`. A directory without the
    two holds test images only, `<directory>/<class>/<image>`: what a network is judged on must not be
    what it was trained on. Classes are numbered in the order of their folders' names. Test images are
    ordered by class and file name; training images by a fixed shuffle of that order, since validation is
    cut from their end.

    Args:
        directory: `pathlib.Path`.
        split: "train", "validation" or "test".
        validation_size: int, how many examples at the end of the training images are for validation.
        image_size: `(H, W)` to which images are scaled, or None where they have one size.

    Returns:
        `(images, labels, label_names)`: `(N, H, W, C)` with values from 0 to 255, grey if all images
        are; `(N,)` int32; tuple of strings.

    Raises:
        ValueError: if there are no images, or they are not what is expected.
    """
    survey = _survey(directory)
    if split != "test" and "train" not in survey.files:
        raise ValueError(
            "The directory has no folder 'train' beside one 'test', and without them its images are for "
            f"judging only, split='test'. Received: split={split!r} of {str(directory)!r}"
        )
    stored, start, stop = span(split, len(survey.files.get("train", ())), validation_size)
    if image_size is None and len(survey.sizes) > 1:
        raise ValueError(different_sizes(survey.sizes, directory))
    images = [_decoded(path, survey.channels) for path in survey.files[stored][start:stop]]
    labels = np.array(survey.labels[stored][start:stop], "int32")
    return stack_images(images, image_size, directory), labels, survey.label_names


def describe_folder(directory, image_size=None):
    """Return `(input_shape, label_names)` of a directory of images, decoding none."""
    survey = _survey(directory)
    if image_size is None and len(survey.sizes) > 1:
        raise ValueError(different_sizes(survey.sizes, directory))
    return (*(image_size or survey.sizes[0]), survey.channels), survey.label_names


def _survey(directory):
    roots = {split: directory / split for split in ("train", "test")}
    if not all(root.is_dir() for root in roots.values()):
        roots = {"test": directory}
    classes = {split: _folders(root) for split, root in roots.items()}
    label_names = tuple(next(iter(classes.values())))
    files, labels = {}, {}
    for split, found in classes.items():
        foreign = sorted(set(found) - set(label_names))
        if foreign:
            raise ValueError(
                "Every class must have a folder of training images. "
                f"Received: {foreign} in {str(roots[split])!r} only"
            )
        pairs = [(path, label) for label, name in enumerate(label_names) for path in found.get(name, ())]
        if not pairs:
            raise ValueError(
                "There must be a folder of images for each class: <directory>/<class>/<image>, or "
                "<directory>/train/<class>/<image> and <directory>/test/<class>/<image>. "
                f"Received: no file {', '.join('*' + s for s in _SUFFIXES)} in {str(roots[split])!r}"
            )
        if split == "train":
            words = np.random.Philox(key=np.array([0, 0], "uint64")).random_raw(len(pairs))
            pairs = [pairs[i] for i in np.argsort(words, kind="stable")]
        files[split], labels[split] = (list(column) for column in zip(*pairs, strict=True))
    headers = [_header(path) for path in itertools.chain(*files.values())]
    channels = 1 if all(grey for _, grey in headers) else 3
    return _Survey(files, labels, label_names, sorted({size for size, _ in headers}), channels)


def _folders(root):
    found = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        inside = [
            os.path.join(place, name)
            for place, _, names in sorted(os.walk(folder))
            for name in sorted(names)
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
        found[folder.name] = inside
    return found


@contextlib.contextmanager
def _opened(path):
    from PIL import Image, UnidentifiedImageError  # Late: Pillow is only needed for files.

    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        raise ValueError(f"The file is no image. Received: {path!r}") from error
    except OSError as error:
        raise ValueError(f"The image cannot be read: {error}. Received: {path!r}") from error


def _header(path):
    """Return `((height, width), grey)` of an image as it is seen upright."""
    with _opened(path) as image:
        if image.mode not in (*_GREY, *_COLOUR):
            raise ValueError(
                "Images must have 8 bits per channel, grey or colour. "
                f"Received: {path!r} with mode {image.mode!r}"
            )
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return (height, width), image.mode in _GREY


def _decoded(path, channels):
    from PIL import ImageOps

    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(upright.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape((*pixels.shape[:2], channels))
