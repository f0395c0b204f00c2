"""Weights as an archive that depends on nothing but the weights."""

import io
import zipfile

import numpy as np

from sharedkeras.files import read_archive


def pack(network, dtype="float32"):
    """Pack a network's weights into a compressed archive; the same weights give the same bytes.

    Args:
        network: `keras.Model`.
        dtype: "float32" or "float16".

    Returns:
        Bytes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, value in enumerate(network.get_weights()):
            if value.dtype == np.float32:
                value = value.astype(dtype)
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(value), allow_pickle=False)
            # A fixed date: the archive's digest must depend on nothing but the weights.
            item = zipfile.ZipInfo(f"w{number:04d}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, part.getvalue())
    return buffer.getvalue()


def unpack(data, network, *, where="the archive"):
    """Put packed weights into a network, or leave it as it was.

    Args:
        data: bytes of `pack`.
        network: `keras.Model` of the same shapes.
        where: path or address of the archive, for messages.

    Raises:
        ValueError: if the archive is damaged, of another network, or holds NaN or infinity.
    """
    weights = network.weights
    shapes = {f"w{number:04d}": tuple(w.shape) for number, w in enumerate(weights)}
    values = read_archive(
        data,
        what=f"the weights of {network.name!r}",
        max_bytes=sum(8 * int(np.prod(shape)) for shape in shapes.values()),
        where=where,
    )
    found = {name: value.shape for name, value in values.items()}
    if found != shapes:
        differ = [name for name in sorted({*found, *shapes}) if found.get(name) != shapes.get(name)]
        raise ValueError(
            f"The weights are of another network than {network.name!r}, whose {len(shapes)} arrays were "
            f"expected: {len(found)} arrays, of which {len(differ)} differ, first {differ[0]}: "
            f"{found.get(differ[0])} for {shapes.get(differ[0])}. Received: path={where}"
        )
    for name, value in values.items():
        if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise ValueError(
                f"The weights must be finite numbers. Received: {name} of {value.dtype}, not all of it "
                f"finite numbers, path={where}"
            )
    ordered = [values[name] for name in shapes]
    network.set_weights([v.astype("float32") if v.dtype == np.float16 else v for v in ordered])
