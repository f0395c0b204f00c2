"""Archives of arrays that tell whether they are what was written."""

import hashlib
import io

import numpy as np

from sharedkeras.files import read_archive

_SEAL = "seal"


def pack(arrays, chain):
    """Return an uncompressed `.npz` archive with a hash of its content.

    Args:
        arrays: dict from name to array, none called "seal".
        chain: str that the hash is chained to: what the content belongs to.

    Returns:
        bytes.
    """
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_SEAL: np.array(_seal(arrays, chain))})
    return buffer.getvalue()


def unpack(path, chain):
    """Return the arrays of a file that `pack` made, or None if it is anything else.

    Args:
        path: of the file.
        chain: str, as for `pack`.
    """
    try:
        data = path.read_bytes()
        # Nothing is packed, so that a small file cannot become a large array.
        arrays = read_archive(data, what="finished examples", max_bytes=len(data), where=path)
    except (OSError, ValueError):
        return None
    arrays.pop(_SEAL, None)
    # Byte for byte, since readers overlook some damage.
    return arrays if pack(arrays, chain) == data else None


def _seal(arrays, chain):
    known = hashlib.sha256(chain.encode())
    for name, value in sorted(arrays.items()):
        known.update(f"\0{name}\0{value.dtype.str}{value.shape}\0".encode())
        known.update(np.ascontiguousarray(value).tobytes())
    return known.hexdigest()
