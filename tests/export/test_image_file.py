"""Image files as a network is given them, and what is refused of them before it is decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from export.image_file import read_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)
SHAPE = (9, 12, 3)
ORIENTATION = 0x0112
# What each number of the standard asks a viewer to do.
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, k=-1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, k=1),
}


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def read(path, data, shape=SHAPE):
    path.write_bytes(data)
    return read_image(path, shape)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "JPEG"])
def test_formats(kind, tmp_path):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    pixels = PIXELS if kind != "GIF" else np.repeat(PIXELS[..., :1], 3, axis=2)
    found = read(tmp_path / "image", encoded(pixels, kind, **options))
    assert found.dtype == np.float32 and found.shape == SHAPE
    np.testing.assert_allclose(255 * found, pixels, atol=8 if kind == "JPEG" else 1e-4)


@pytest.mark.parametrize("number", [*TURNS, 0, 9])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_photographs_are_turned(kind, number, tmp_path):
    tags = Image.Exif()
    tags[ORIENTATION] = number
    smooth = np.add.outer(np.arange(9) * 9, np.arange(12) * 12).astype("uint8")
    options = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100}}[kind]
    wanted = TURNS.get(number, TURNS[1])(smooth)
    found = read(tmp_path / "i", encoded(smooth, kind, exif=tags, **options), (*wanted.shape, 1))
    np.testing.assert_allclose(255 * found[..., 0], wanted, atol=4 if kind == "JPEG" else 1e-4)
    if number in (5, 6, 7, 8):  # The size is that of the turned picture.
        with pytest.raises(ValueError, match="9 x 12 pixels"):
            read_image(tmp_path / "i", (9, 12, 1))


def png(width, height, data, depth=8, colour=2):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def rows_of(pixels):
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def early_end(data):
    return data[: len(data) * 2 // 3] + b"\xff\xd9"


NOISE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
DAMAGED = {
    "text": (b"no image", "no image of the formats"),
    "nothing": (b"", "no image of the formats"),
    "png, cut off": (encoded(NOISE, "PNG")[:6000], "truncated"),
    "png, rows missing": (png(64, 64, rows_of(NOISE[:40])), "rows hold 7720 bytes instead of 12352"),
    "png, rows too many": (png(64, 64, rows_of(NOISE) + b"more"), "rows hold"),
    "jpeg, cut off": (encoded(NOISE, "JPEG")[:2000], "truncated|last row"),
    "jpeg, ended early": (early_end(encoded(NOISE, "JPEG")), "ends before its last row"),
    "jpeg of scans, ended early": (
        early_end(encoded(NOISE, "JPEG", progressive=True)),
        "ends before its last row",
    ),
    "bmp, rows missing": (encoded(NOISE, "BMP")[:9000], "truncated"),
    "gif, rows missing": (encoded(NOISE, "GIF")[:3000], "truncated"),
    "gif, ended early": (encoded(NOISE, "GIF")[:3000] + b"\0;", "truncated"),
    "webp, cut off": (encoded(NOISE, "WEBP")[:1000], "decoder|no image"),
    "eps": (encoded(NOISE, "EPS"), "no image of the formats"),
    "tiff": (encoded(NOISE, "TIFF"), "no image of the formats"),
    "ppm": (encoded(NOISE, "PPM"), "no image of the formats"),
    "pdf": (encoded(NOISE, "PDF"), "no image of the formats"),
    "deep grey": (encoded(NOISE[..., 0].astype("uint16") * 257, "PNG"), "8 bits per channel"),
    "deep colour": (png(64, 64, rows_of(NOISE.astype(">u2") * 257), depth=16), "16 bits"),
    "cmyk": (None, "8 bits per channel"),
    "two pictures, gif": (None, "one picture; it holds 2"),
    "two pictures, webp": (None, "one picture; it holds 2"),
    "two pictures, png": (None, "one picture; it holds 2"),
    "transparent": (encoded(np.dstack([NOISE, NOISE[..., 0]]), "PNG"), "transparent in places"),
    "transparent grey": (None, "transparent in places"),
    "transparent palette": (None, "transparent in places"),
}


def made_by_pillow(kind):
    image = Image.fromarray(NOISE)
    file = io.BytesIO()
    if kind.startswith("two"):
        more = [Image.fromarray(255 - NOISE)]
        image.save(file, kind.rsplit(" ", 1)[1].upper(), save_all=True, append_images=more)
    elif kind == "cmyk":
        image.convert("CMYK").save(file, "JPEG")
    elif kind == "transparent grey":
        Image.fromarray(NOISE[..., :2], "LA").save(file, "PNG")
    else:
        image.quantize(16).save(file, "PNG", transparency=3)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("kind", DAMAGED)
def test_refused_by_name(kind, tmp_path):
    data, message = DAMAGED[kind]
    path = tmp_path / "image.png"
    path.write_bytes(made_by_pillow(kind) if data is None else data)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path, (64, 64, 3))
    assert str(path) in str(caught.value)


def test_opaque_alpha_is_no_matter(tmp_path):
    alpha = np.full((9, 12), 255, "uint8")
    found = read(tmp_path / "i.png", encoded(np.dstack([PIXELS, alpha]), "PNG"))
    np.testing.assert_allclose(255 * found, PIXELS, atol=1e-4)


@pytest.mark.parametrize("size", [60_000, 12_000, 4_000])
def test_bombs_are_not_decoded(size, tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    row = b"\0" + bytes(3 * size)
    path.write_bytes(png(size, size, row * 100))
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    with pytest.raises(ValueError, match=r"decompression bomb|takes images of 12 x 9 pixels"):
        read_image(path, SHAPE)
    assert not decoded


def test_rows_are_counted_without_unpacking_a_bomb(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(12, 9, rows_of(PIXELS) + bytes(2**27)))
    with pytest.raises(ValueError, match="rows hold 334 bytes instead of 333"):
        read_image(path, SHAPE)


def test_files_of_many_bytes(tmp_path):
    path = tmp_path / "long.png"
    path.write_bytes(encoded(PIXELS, "PNG"))
    with path.open("ab") as file:
        file.truncate(2**27)
    with pytest.raises(ValueError, match="at most 64 MiB"):
        read_image(path, SHAPE)
    with pytest.raises(ValueError, match="must be a file"):
        read_image(tmp_path, SHAPE)
