"""Weights files: found beside the cards, in the cache, or fetched and checked."""

import hashlib
import os
import pathlib
import warnings

from sharedkeras.files import remove_litter, write_atomically
from zoo.card_reader import check_weights_entry
from zoo.cards_index import ROOT
from zoo.download import fetch
from zoo.packing import pack, unpack

__all__ = ["cache_directory", "pack", "read", "unpack"]


def cache_directory():
    """Return the cache: `$SHAREDKERAS_HOME/zoo`, by default `~/.cache/sharedkeras/zoo`.

    Returns:
        Path, or None where neither the variable nor a home directory is there.
    """
    home = os.environ.get("SHAREDKERAS_HOME")
    if home:
        return pathlib.Path(home) / "zoo"
    try:
        return pathlib.Path.home() / ".cache" / "sharedkeras" / "zoo"
    except RuntimeError:
        return None


def read(entry, *, zoo_url=None, root=None):
    """Return the bytes of a weights file after checking them.

    It is looked for beside the cards, then in the cache, then at the zoo's address. Where one of these
    is damaged the next is tried, and what was fetched replaces what is damaged in the cache.

    Args:
        entry: dict with `file`, `sha256` and `bytes`, from a card.
        zoo_url: str, address under which weights files lie; default: `$SHAREDKERAS_ZOO_URL`.
        root: `pathlib.Path` of the zoo that the card is of; the package's own if None.

    Returns:
        Bytes.

    Raises:
        ValueError: if `file` is not a plain file name, or nothing but other content is found.
        FileNotFoundError: if the file is nowhere to be found.
    """
    check_weights_entry(entry)
    cache = cache_directory()
    cached = None if cache is None else cache / f"{entry['sha256'][:16]}-{entry['file']}"
    base = zoo_url or os.environ.get("SHAREDKERAS_ZOO_URL")
    beside, damage = (root or ROOT) / "weights" / entry["file"], None
    for path in (beside, cached):
        try:
            return _read_file(path, entry)
        except FileNotFoundError:
            continue
        except ValueError as error:
            damage = damage or error
    if not base:
        if damage is not None:
            raise damage
        raise FileNotFoundError(
            f"The weights {entry['file']} do not come with the package. Expected `zoo_url` or "
            "SHAREDKERAS_ZOO_URL to be given. "
            f"Looked for {beside} and {cached}"
        )
    if damage is not None:
        warnings.warn(f"Fetching the weights anew. {damage}", stacklevel=2)
    address = f"{base.rstrip('/')}/{entry['file']}"
    data = _fetch(address, entry)
    _keep(cached, data)
    return data


def _read_file(path, entry):
    if path is None:
        raise FileNotFoundError("There is no cache.")
    try:
        with open(path, "rb") as file:
            data = file.read(entry["bytes"] + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"Expected a weights file that can be read. Received: {error}") from error
    return _checked(data, entry, path)


def _fetch(address, entry):
    try:
        data = fetch(address, entry["bytes"])
    except ValueError as error:
        raise ValueError(
            f"The weights are not those of the card, SHA-256 {entry['sha256']}: {error}"
        ) from error
    return _checked(data, entry, address)


def _keep(path, data):
    """Write verified weights into the cache; where that fails they are used all the same."""
    reason = "there is no home directory"
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_litter(path.parent)
            write_atomically(path, data)
            return
        except OSError as error:
            reason = error
    warnings.warn(
        f"The weights are used but not kept, and will be fetched again: {reason}. "
        "Set SHAREDKERAS_HOME to a directory that can be written.",
        stacklevel=3,
    )


def _checked(data, entry, where):
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"] or len(data) != entry["bytes"]:
        more = " or more" if len(data) > entry["bytes"] else ""
        raise ValueError(
            f"The weights are not those of the card: SHA-256 {entry['sha256']} was expected over "
            f"{entry['bytes']} bytes. Received: {digest} over {len(data)}{more} bytes at {where}"
        )
    return data
