"""One reader for every archive of NumPy arrays: sizes are checked before anything is unpacked."""

import contextlib
import io
import math
import struct
import zipfile
import zlib

import numpy as np
import psutil

_MOST_TOLD = 8  # Names of arrays in a message.
_HEADER = 16 * 1024  # Bytes of a member that are no data: NumPy's own headers take less.
_MAX_MEMBERS = 100_000
_KINDS = "biufSU"  # Numbers and strings: no Python objects, whose pickles could run code.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    SyntaxError,
    TypeError,
)


def read_archive(source, *, what, required=(), only=None, max_bytes=None, where=None):
    """Read arrays of an `.npz` archive.

    Each member's declared size must be that of the array in its header, and their sum is checked
    against `max_bytes` before anything is unpacked; no pickle is loaded.

    Args:
        source: path of the file, or its bytes.
        what: str, what the archive should be, for messages: "a checkpoint".
        required: names of arrays that must be there.
        only: names of the arrays to read, of those that are there; all if None.
        max_bytes: int, what the arrays that are read may take unpacked; the machine's memory if None.
        where: path or address that bytes come from, for messages.

    Returns:
        Dict from name to a new array, in the archive's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is anything else; the message names it and what was expected.
    """
    limit = psutil.virtual_memory().total if max_bytes is None else max_bytes
    with _opened(source, what, where) as opened:
        members = _members(opened, required)
        chosen = {name: m for name, m in members.items() if only is None or name in only}
        total = sum(member.file_size for member in chosen.values())
        if total > limit + _HEADER * len(chosen):
            raise ValueError(f"expected at most {limit:,} bytes unpacked, and it states {total:,}")
        arrays = {}
        for name, member in chosen.items():
            with opened.open(member) as file:
                arrays[name] = _array(file, member, *_header(file, member))
        return arrays


def describe_archive(source, *, what, required=(), where=None):
    """Return the shapes and types of an archive's arrays without unpacking them.

    Args:
        source: as of `read_archive`.
        what: as of `read_archive`.
        required: as of `read_archive`.
        where: as of `read_archive`.

    Returns:
        Dict from name to `(shape, dtype)`, in the archive's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the archive is anything else; the message names it and what was expected.
    """
    with _opened(source, what, where) as opened:
        described = {}
        for name, member in _members(opened, required).items():
            with opened.open(member) as file:
                shape, _, dtype = _header(file, member)
            described[name] = shape, dtype
        return described


@contextlib.contextmanager
def _opened(source, what, where):
    """Open an archive, and name it in every error that comes of reading it."""
    is_bytes = isinstance(source, bytes | bytearray)
    where = where if is_bytes else source
    try:
        # Opened here, since `ZipFile` leaves a damaged file open.
        with (
            io.BytesIO(source) if is_bytes else open(source, "rb") as file,
            zipfile.ZipFile(file) as opened,
        ):
            yield opened
    except FileNotFoundError:
        raise FileNotFoundError(
            f"No such file. Expected {what} as an .npz archive. Received: path={where}"
        ) from None
    except _DAMAGE as error:
        raise ValueError(
            f"Expected {what} as an .npz archive, and the file is damaged or another: "
            f"{str(error) or type(error).__name__}. Received: path={where}"
        ) from error


def _members(opened, required):
    """Return the archive's arrays by name, after checking its directory."""
    infos = opened.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise ValueError(f"expected at most {_MAX_MEMBERS:,} members, and there are {len(infos):,}")
    members = {}
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise ValueError(f"expected each member once, and {info.filename!r} is there twice")
        members[name] = info
    members = {name: info for name, info in members.items() if info.filename.endswith(".npy")}
    missing = sorted(set(required) - set(members))
    if missing:
        raise ValueError(
            f"expected the arrays {sorted(required)}, and {missing} are missing; "
            f"it holds {sorted(members)[:_MOST_TOLD]}"
        )
    for member in members.values():
        if member.flag_bits & 1:
            raise ValueError(f"expected no encryption, and {member.filename!r} is marked as encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"expected members that are stored or deflated, and {member.filename!r} is "
                f"of compression type {member.compress_type}"
            )
    return members


def _header(file, member):
    """Return `(shape, is in Fortran's order, dtype)` of an opened member, after checking them."""
    major, _ = np.lib.format.read_magic(file)
    if major not in (1, 2):
        raise ValueError(f"expected version 1 or 2 of .npy, and {member.filename!r} is of {major}")
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise ValueError(f"expected numbers or strings, and {member.filename!r} holds {dtype}")
    size = math.prod(shape) * dtype.itemsize
    if size != member.file_size - file.tell() or min(shape, default=0) < 0:
        raise ValueError(
            f"expected {member.file_size:,} bytes in {member.filename!r}, and its header states "
            f"shape {shape} of {dtype}"
        )
    return shape, fortran, dtype


def _array(file, member, shape, fortran, dtype):
    data = bytearray(math.prod(shape) * dtype.itemsize)
    view, done = memoryview(data), 0
    while done < len(data):
        got = file.readinto(view[done:])
        if not got:
            raise ValueError(f"expected {len(data):,} bytes in {member.filename!r}, not {done:,}")
        done += got
    file.read(1)  # At the end the checksum is compared.
    array = np.frombuffer(data, dtype) if data else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran else "C")
