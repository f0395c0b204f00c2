"""Weights files: found beside the cards, in the cache, or fetched and checked."""

import hashlib
import io
import os
import pathlib
import urllib.error
import urllib.request
import zipfile

import numpy as np

from sharedkeras.files import write_atomically
from zoo.cards_index import ROOT

_TIMEOUT = 30  # Seconds without an answer after which a host counts as absent.


def cache_directory():
    """Return the cache: `$SHAREDKERAS_HOME/zoo`, by default `~/.cache/sharedkeras/zoo`."""
    home = os.environ.get("SHAREDKERAS_HOME") or pathlib.Path.home() / ".cache" / "sharedkeras"
    return pathlib.Path(home) / "zoo"


def read(entry, *, zoo_url=None):
    """Return the bytes of a weights file after checking them.

    It is looked for beside the cards, then in the cache, then at the zoo's address.

    Args:
        entry: dict with `file`, `sha256` and `bytes`, from a card.
        zoo_url: str, address under which weights files lie; default: `$SHAREDKERAS_ZOO_URL`.

    Returns:
        Bytes.

    Raises:
        ValueError: if the SHA-256 is not the card's.
        FileNotFoundError: if the file is nowhere to be found.
    """
    shipped = ROOT / "weights" / entry["file"]
    if shipped.exists():
        return _checked(shipped.read_bytes(), entry, shipped)
    cached = cache_directory() / f"{entry['sha256'][:16]}-{entry['file']}"
    if cached.exists():
        return _checked(cached.read_bytes(), entry, cached)
    base = zoo_url or os.environ.get("SHAREDKERAS_ZOO_URL")
    if not base:
        raise FileNotFoundError(
            f"The weights {entry['file']} do not come with the package; give `zoo_url` or set "
            f"SHAREDKERAS_ZOO_URL. Looked for {shipped} and {cached}"
        )
    address = f"{base.rstrip('/')}/{entry['file']}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise FileNotFoundError(
            f"The weights could not be fetched: {error}. Received: {address}"
        ) from error
    data = _checked(data, entry, address)
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cached, data)
    return data


def _checked(data, entry, where):
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        raise ValueError(
            f"The weights are not those of the card: SHA-256 {entry['sha256']} was expected over "
            f"{entry['bytes']} bytes. Received: {digest} over {len(data)} bytes at {where}"
        )
    return data


def pack(network, dtype="float32"):
    """Packs a network's weights into a compressed archive; the same weights give the same bytes.

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


def unpack(data, network):
    """Put packed weights into a network.

    Args:
        data: bytes of `pack`.
        network: `keras.Model` of the same shapes.

    Raises:
        ValueError: if the weights are of another network.
    """
    with np.load(io.BytesIO(data)) as archive:
        values = [archive[name] for name in sorted(archive.files)]
    shapes = [tuple(w.shape) for w in network.weights]
    if [v.shape for v in values] != shapes:
        raise ValueError(
            f"The weights are of another network: {len(values)} arrays for {len(shapes)} variables, or "
            f"of other shapes. Received: network={network.name!r}"
        )
    network.set_weights([v.astype("float32") if v.dtype == np.float16 else v for v in values])
