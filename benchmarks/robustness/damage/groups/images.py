"""Image files as input of an exported network."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from damage.case import Case
from damage.files import damaged_bytes
from export.image_file import read_image

_SHAPE = (48, 40, 3)
_LOSSLESS = ("PNG", "BMP", "GIF", "WEBP")


def _encoded(pixels, kind, **options):
    file = io.BytesIO()
    options = {"lossless": True, **options} if kind == "WEBP" else options
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _chunk(kind, content):
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(pixels, *, width=None, depth=8, colour=2, rows=None):
    """Return a PNG file whose header may state other things than its rows hold."""
    height = len(pixels)
    body = b"".join(b"\0" + row.tobytes() for row in pixels[:rows])
    header = struct.pack(">IIBBBBB", width or pixels.shape[1], height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(body))
        + _chunk(b"IEND", b"")
    )


def _pixels():
    # Few colours, so that GIF loses none.
    return np.random.default_rng(0).integers(0, 4, _SHAPE, dtype="uint8") * np.uint8(85)


def _others(pixels):
    """Yield `(name, bytes)` for files that are whole, and no such image as is asked for."""
    yield "another size", _encoded(pixels[:-1], "PNG")
    yield "height and width exchanged", _encoded(pixels.swapaxes(0, 1).copy(), "PNG")
    yield "a header of a billion pixels", _png(pixels, width=2**30)
    yield "rows missing", _png(pixels, rows=30)
    yield "16 bits", _png(pixels.astype(">u2"), depth=16)
    yield "transparent", _encoded(np.dstack([pixels, pixels[..., 0]]), "PNG")
    more = [Image.fromarray(255 - pixels)]
    for kind in ("PNG", "GIF", "WEBP"):
        yield f"two pictures, {kind}", _encoded(pixels, kind, save_all=True, append_images=more)
    for kind in ("TIFF", "PPM", "PDF", "EPS", "ICO", "TGA"):
        yield f"a file of {kind}", _encoded(pixels, kind)
    file = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(file, "JPEG")
    yield "CMYK", file.getvalue()
    yield "a script", b"#!/bin/sh\necho ran\n"
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="48"/>'


def cases(folder):
    """Yield damaged files of every format, and files that are none of them."""
    pixels = _pixels()
    damages = []
    for kind in _LOSSLESS:
        data = _encoded(pixels, kind)
        # Of these only PNG has checksums: in the others nobody can see that a pixel has changed.
        damages += [
            (f"{kind}, {name}", value)
            for name, value in damaged_bytes(data)
            if kind == "PNG" or not ("flipped" in name or "block" in name)
        ]
    photograph = _encoded(pixels, "JPEG")
    for share in (0.1, 0.5, 0.9):
        cut = photograph[: int(share * len(photograph))]
        damages += [(f"JPEG cut at {share:.0%}", cut), (f"JPEG ended at {share:.0%}", cut + b"\xff\xd9")]
    damages += _others(pixels)
    for number, (name, value) in enumerate(damages):
        path = folder / f"{number}.img"
        path.write_bytes(value)
        yield Case(
            name,
            lambda path=path: read_image(path, _SHAPE),
            str(path),
            lambda found: np.array_equal(np.round(found * 255), pixels),
        )
    yield Case("absent", lambda: read_image(folder / "no.png", _SHAPE), "no.png")
    yield Case("a directory", lambda: read_image(folder, _SHAPE), str(folder))
    yield Case("five channels", lambda: read_image(folder / "0.img", (48, 40, 5)), "5 channels")
