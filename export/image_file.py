"""Image files as input of an exported network."""

import numpy as np

_MODES = {1: "L", 3: "RGB"}
_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA")


def read_image(path, input_shape):
    """Read an image file as an exported network wants it.

    Colour is converted to what the network takes; the size must fit, since scaling is a choice that
    changes what a network says.

    Args:
        path: path of a file of any format that Pillow knows, 8 bits per channel.
        input_shape: tuple `(H, W, C)` of ints, C being 1 or 3.

    Returns:
        `(H, W, C)` float32 array in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, has another size or more than 8 bits per channel, or if the
            network takes neither grey nor RGB.
    """
    from PIL import Image, UnidentifiedImageError  # Late: Pillow is only needed for files.

    height, width, channels = input_shape
    if channels not in _MODES:
        raise ValueError(f"The network takes neither grey nor RGB images. Received: {channels} channels")
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT:
                raise ValueError(
                    "Images must have 8 bits per channel, grey or RGB. "
                    f"Received: path={str(path)!r} with mode {image.mode!r}"
                )
            if image.size != (width, height):
                raise ValueError(
                    f"The network takes images of {width} x {height} pixels; scale or crop the image "
                    f"first. Received: path={str(path)!r} with {image.width} x {image.height} pixels"
                )
            pixels = np.asarray(image.convert(_MODES[channels]), dtype="float32")
    except UnidentifiedImageError as error:
        raise ValueError(f"The file is no image. Received: path={str(path)!r}") from error
    return pixels.reshape(input_shape) / np.float32(255)
