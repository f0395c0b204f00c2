"""Cards: what a network is, how it was trained, what it withstands; a tool writes them."""

import copy
import functools
import json
import pathlib

FORMAT = "sharedkeras-card/1"
ROOT = pathlib.Path(__file__).parent


@functools.cache
def _cards():
    cards = {}
    for path in sorted((ROOT / "cards").glob("*/*/*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.get("format") != FORMAT or value.get("name") != path.stem:
            raise ValueError(f"The card is damaged or of another format. Received: {path}")
        cards[value["name"]] = value
    return cards


def names():
    """List the networks' names.

    Returns:
        List of str.
    """
    return list(_cards())


def card(name):
    """Return a network's card.

    Args:
        name: str, one of `names()`.

    Returns:
        Dict: `name`, `dataset`, `norm`, `epsilon`, `label_names`, `preprocessing`, `network` (how to
        build it), `parameters`, `weights` (file, SHA-256, bytes), `training` (recipe, history) and
        `evaluation` (the report's settings, seed, versions, n, accuracies in [0, 1]).

    Raises:
        ValueError: if there is no such network.
    """
    cards = _cards()
    if name not in cards:
        raise ValueError(f"Unknown network; the zoo has {names()}. Received: name={name!r}")
    return copy.deepcopy(cards[name])
