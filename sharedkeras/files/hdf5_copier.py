"""Copies the arrays of an HDF5 file into a new one; `sharedkeras.files.hdf5` runs it as a process.

It imports nothing but h5py and NumPy, so that it starts at once.
"""

import contextlib
import math
import os
import sys

import h5py

try:
    import resource
except ImportError:  # Windows
    resource = None

_MAX_OBJECTS = 100_000
_MEMORY = 4 * 1024**3  # Bytes that Python, NumPy and HDF5 may reserve without any array.


def main(source, copy, seconds):
    """Copy a file, and print how many bytes its arrays take.

    Args:
        source: str, path of an HDF5 file.
        copy: str, path where nothing exists yet.
        seconds: str, of computing after which this process ends itself, even without its parent.

    Returns:
        int, the exit status.
    """
    size = os.path.getsize(source)
    _limit(_MEMORY + 4 * size, int(seconds))
    try:
        with h5py.File(source, "r") as theirs, h5py.File(copy, "w") as ours:
            total = _copy(theirs, ours, size)
    except Exception as error:  # HDF5 reports damage by whatever its call in Python raises.
        print(str(error).strip("'\" ") or type(error).__name__, file=sys.stderr)
        return 1
    print(total)
    return 0


def _limit(memory, seconds):
    if resource is None:
        return
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        # A system may have limits of its own, or none of this kind.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))


def _copy(theirs, ours, limit):
    """Copy all groups, attributes and arrays, and return the bytes that the arrays take."""
    left, objects, total = [(theirs, ours)], 0, 0
    while left:
        group, mine = left.pop()
        _copy_attributes(group, mine, limit)
        for name in group:
            objects += 1
            if objects > _MAX_OBJECTS:
                raise ValueError(f"expected at most {_MAX_OBJECTS:,} groups and arrays")
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ValueError(f"expected no links, and {group.name}/{name} is one to another place")
            item = group[name]
            if isinstance(item, h5py.Group):
                left.append((item, mine.create_group(name)))
                continue
            total += _checked_size(item, limit - total)
            _copy_attributes(item, mine.create_dataset(name, data=item[()], dtype=item.dtype), limit)
    return total


def _checked_size(item, limit):
    """Return the bytes that an array takes, before it is read."""
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"expected groups and arrays, and {item.name} is a type")
    kind = item.dtype
    # HDF5 knows no bfloat16: it is kept as two bytes, and Keras notes beside them what they are.
    is_bfloat16 = kind.kind == "V" and kind.itemsize == 2 and kind.names is None
    if item.shape is None or not (kind.kind in "biuf" or is_bfloat16):
        raise ValueError(f"expected numbers, and {item.name} holds {kind} of shape {item.shape}")
    if item.external is not None or item.is_virtual:
        raise ValueError(f"expected the numbers of {item.name} in the file, and they are in another")
    size = math.prod(item.shape) * kind.itemsize
    if size > limit:
        raise ValueError(
            f"expected arrays that take no more than the file, and {item.name} states shape "
            f"{item.shape} of {kind}"
        )
    return size


def _copy_attributes(item, mine, limit):
    for name in item.attrs:
        handle = item.attrs.get_id(name)
        kind, shape = handle.dtype, handle.shape
        if shape is None or not (kind.kind in "biufS" or h5py.check_string_dtype(kind)):
            raise ValueError(f"expected numbers or strings, and {name} of {item.name} holds {kind}")
        if math.prod(shape) * kind.itemsize > limit:
            raise ValueError(f"expected {name} of {item.name} within the file: it states shape {shape}")
        mine.attrs.create(name, item.attrs[name], shape=shape, dtype=kind)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
