"""Damage that any file can take, and damage of archives and of JSON."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np

_FLIPS = 12


def damaged_bytes(data, seed=0):
    """Yield `(name, bytes)` for damage that a disk, a network or a person does to any file."""
    for share in (0, 0.01, 0.5, 0.9):
        yield f"cut at {share:.0%}", data[: int(share * len(data))]
    yield "without its last byte", data[:-1]
    yield "without its first byte", data[1:]
    yield "all zeros", bytes(len(data))
    yield "a block of zeros", data[: len(data) // 3] + bytes(512) + data[len(data) // 3 + 512 :]
    yield "a page of HTML", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield "a pickle", pickle.dumps({"x": 1})
    draws = np.random.default_rng(seed)
    for place in draws.integers(len(data), size=_FLIPS):
        flipped = bytearray(data)
        flipped[place] ^= 1 << draws.integers(8)
        yield f"one bit flipped at byte {place}", bytes(flipped)


def members_of(data):
    """Return an archive's members by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(members):
    """Return an archive of `(name, bytes)` pairs, or of a dict."""
    pairs = members.items() if isinstance(members, dict) else members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in pairs:
            archive.writestr(name, value)
    return buffer.getvalue()


def npy(array, *, allow_pickle=False):
    """Return an array as the bytes of an `.npy` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def header_of(shape, descr="<f4", data=b""):
    """Return the bytes of an `.npy` file whose header states what it likes."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def damaged_archives(data, member):
    """Yield `(name, bytes)` for archives that are hostile in one member, or in their directory.

    Args:
        data: bytes of an archive of arrays.
        member: str, name of the member that is changed.
    """
    members = members_of(data)

    def changed(value):
        return archive_of({**members, member: value})

    array = np.load(io.BytesIO(members[member]), allow_pickle=False)
    yield "a member missing", archive_of({k: v for k, v in members.items() if k != member})
    yield "a member twice", archive_of([*members.items(), (member, members[member])])
    yield "no members", archive_of({})
    yield "a pickled object", changed(npy(np.array([{"x": 1}], dtype=object), allow_pickle=True))
    yield "a structured array", changed(npy(np.zeros(3, [("a", "f4")])))
    yield "another shape", changed(npy(np.zeros((*array.shape, 2), array.dtype)))
    yield "a scalar", changed(npy(np.zeros((), array.dtype)))
    yield "complex numbers", changed(npy(array.astype("complex64")))
    yield "a header of a petabyte", changed(header_of((2**50,)))
    yield "a negative size", changed(header_of((-1, 4)))
    yield "a header that is no literal", changed(header_of("__import__('os')"))
    yield "a header without an end", changed(b"\x93NUMPY\x01\x00\xff\xff{")
    yield "text for an array", changed(b"0.1 0.2 0.3")
    yield "an empty member", changed(b"")
    yield "a member that is encrypted", _flag(data, member, encrypted=True)
    yield "an unknown compression", _flag(data, member, method=99)
    yield "a directory that states a terabyte", _flag(data, member, size=0xFFFFFFF0)


def _flag(data, member, *, encrypted=False, method=None, size=None):
    """Change a member's entry in an archive's directory."""
    data, name = bytearray(data), member.encode()
    place = data.rfind(b"PK\x01\x02")
    while data[place + 46 : place + 46 + len(name)] != name:
        place = data.rfind(b"PK\x01\x02", 0, place)
    if encrypted:
        data[place + 8] |= 1
    if method is not None:
        data[place + 10 : place + 12] = struct.pack("<H", method)
    if size is not None:
        data[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(data)


def damaged_json(data, entries):
    """Yield `(name, bytes)` for JSON that is cut, ambiguous, not strict or of other types.

    Args:
        data: bytes of a JSON object.
        entries: names of the entries that must be there.
    """
    tree = json.loads(data)
    text = data.decode().rstrip()
    first = next(iter(tree))
    again = json.dumps(first) + ": " + json.dumps(tree[first])
    yield "an entry twice", (text[:-1] + ", " + again + "}").encode()
    yield "NaN", (text[:-1] + ', "extra": NaN}').encode()
    yield "infinity by its exponent", (text[:-1] + ', "extra": 1e999}').encode()
    yield "nested a hundred thousand times", (text[:-1] + ', "extra": ' + "[" * 100_000).encode()
    yield "an array", b"[" + data + b"]"
    yield "null", b"null"
    yield "a second object", data + data
    yield "UTF-16", text.encode("utf-16")
    yield "bytes that are no UTF-8", data[:-2] + b"\xff\xfe"
    for entry in entries:
        yield f"without {entry}", json.dumps({k: v for k, v in tree.items() if k != entry}).encode()
        wrong = 7 if isinstance(tree[entry], dict | list | str) else "seven"
        yield f"{entry} of another type", json.dumps({**tree, entry: wrong}).encode()
