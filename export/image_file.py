"""Image files as input of an exported network."""

import io
import os
import pathlib
import warnings
import zlib

import numpy as np

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""Formats that are read; others, such as EPS, are programs that an interpreter would run."""
_MODES = {1: "L", 3: "RGB"}
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""
_ORIENTATION = 0x0112
_LARGEST_FILE = 64 * 1024**2
_PNG_HEADER = 8
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by the colour type of a PNG file."""


def read_image(path, input_shape):
    """Read an image file as an exported network wants it.

    Colour is converted to what the network takes, and a photograph is turned as its camera says. The
    size must fit, since scaling is a choice that changes what a network says; it is compared before
    anything is decoded.

    Args:
        path: path of a PNG, JPEG, WebP, BMP or GIF file of one picture, 8 bits per channel, opaque.
        input_shape: tuple `(H, W, C)` of ints, C being 1 or 3.

    Returns:
        `(H, W, C)` float32 array in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such image, is damaged or has another size, or if the network takes
            neither grey nor RGB.
    """
    channels = input_shape[-1]
    if channels not in _MODES:
        raise ValueError(
            "The network takes neither grey nor RGB images; expected 1 or 3 channels. "
            f"Received: {channels} channels"
        )
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no such image; expected the path of one. Received: path={str(path)!r}"
        )
    try:
        return _read(path, *input_shape)
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them.
        height, width, _ = input_shape
        kind = "grey" if channels == 1 else "RGB"
        raise ValueError(
            f"Expected a whole {kind} image of {width} x {height} pixels. {error}. "
            f"Received: path={str(path)!r}"
        ) from error


def _read(path, height, width, channels):
    from PIL import Image, ImageOps, UnidentifiedImageError  # Late: Pillow is only needed for files.

    if not path.is_file() or os.path.getsize(path) > _LARGEST_FILE:
        raise ValueError(f"The image must be a file of at most {_LARGEST_FILE // 1024**2} MiB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The size is compared below.
        try:
            opened = Image.open(path, formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"The file is no image of the formats {', '.join(FORMATS)}") from None
    with opened as image:
        size, deep = image.size, any(";16" in str(tile[3]) for tile in image.tile)
        if size in ((width, height), (height, width)):
            # Of a PNG file this decodes the pixels, since its tags may stand at the end.
            size = size[::-1] if image.getexif().get(_ORIENTATION, 1) in _TURNED else size
        if size != (width, height):
            raise ValueError(
                f"The network takes images of {width} x {height} pixels; scale or crop the image first: "
                f"it has {size[0]} x {size[1]} pixels"
            )
        if image.mode not in _EIGHT_BIT or deep:
            raise ValueError(
                "Images must have 8 bits per channel, grey or RGB: the image has mode "
                f"{image.mode!r}{' of 16 bits' if deep else ''}"
            )
        frames = getattr(image, "n_frames", 1)  # Formats that hold one picture lack the attribute.
        if frames != 1:
            raise ValueError(f"The file must hold one picture; it holds {frames}")
        if image.format == "PNG":
            _check_rows(path)
        if image.format == "JPEG":
            _check_scan(path, image)
        image = ImageOps.exif_transpose(image)
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getextrema()[-1] != (255, 255):
                raise ValueError(
                    "The image is transparent in places, where its colour depends on the viewer; lay it "
                    "on a background first"
                )
        pixels = np.asarray(image.convert(_MODES[channels]), dtype="float32")
    return pixels.reshape(height, width, channels) / np.float32(255)


def _check_rows(path):
    """Refuse a PNG file that lacks rows, which Pillow fills with black."""
    data, place, packed = path.read_bytes(), _PNG_HEADER, b""
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        chunk = data[place + 8 : place + 8 + size]
        if kind == b"IHDR":
            width, height = (int.from_bytes(chunk[i : i + 4], "big") for i in (0, 4))
            depth, colour, interlaced = chunk[8], chunk[9], chunk[12]
        elif kind == b"IDAT":
            packed += chunk
        place += 12 + size
    row = (width * depth * _SAMPLES[colour] + 7) // 8 + 1
    wanted = height * row
    found = len(zlib.decompressobj().decompress(packed, max_length=wanted + 1))
    if not interlaced and found != wanted:
        raise ValueError(f"The image is damaged: its rows hold {found} bytes instead of {wanted}")


def _check_scan(path, image):
    """Refuse a JPEG file that ends before its last row, which decoders fill with grey.

    A decoder that has all rows ignores what stands before the end's marker; one that lacks some takes it
    for them. So bytes put there must not change the picture.
    """
    from PIL import Image

    data, place = path.read_bytes(), 2
    while (
        data[place : place + 2] != b"\xff\xda"
    ):  # Segments up to the first scan; a thumbnail is in one.
        if data[place] != 0xFF or place + 4 > len(data):
            raise ValueError("The image is damaged: it has no scan")
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    end = data.find(b"\xff\xd9", place)
    noise = np.random.default_rng(0).integers(0, 255, 1024, dtype=np.uint8).tobytes()
    with Image.open(io.BytesIO(data[:end] + noise + data[end:]), formats=["JPEG"]) as other:
        if end < 0 or not np.array_equal(np.asarray(image), np.asarray(other)):
            raise ValueError("The image is damaged: it ends before its last row")
