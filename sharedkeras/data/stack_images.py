"""Images of many sizes as one array."""

import keras
import numpy as np


def stack_images(images, image_size, source):
    """Stack images, scaled to one size where that is asked for.

    Scaling is bilinear, as that of `keras.utils.image_dataset_from_directory`.

    Args:
        images: sequence of `(H, W, C)` uint8 arrays.
        image_size: `(H, W)`, or None for images that have one size.
        source: what the images come from, for the message.

    Returns:
        `(N, H, W, C)` array with values from 0 to 255: uint8, or float32 where images were scaled.

    Raises:
        ValueError: if the images differ in size and `image_size` is None.
    """
    sizes = sorted({image.shape[:2] for image in images})
    if image_size is None:
        if len(sizes) > 1:
            raise ValueError(different_sizes(sizes, source))
        return np.stack(images)
    scaled = [_resized(image.astype("float32"), image_size) for image in images]
    # Interpolation rounds; a white image stays within the range of a pixel.
    return np.clip(np.stack(scaled), 0, 255)


def _resized(image, size):
    image = keras.ops.image.resize(image, size, "bilinear", data_format="channels_last")
    return keras.ops.convert_to_numpy(image)


def different_sizes(sizes, source):
    """Return the message that images of several sizes get."""
    return (
        "The images differ in size. Say to which they are scaled: image_size=(height, width). "
        f"Received: {len(sizes)} sizes, such as {sizes[0]} and {sizes[-1]}, in {str(source)!r}"
    )
