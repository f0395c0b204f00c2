"""Cards: what a network is, how it was trained, what it withstands; a tool writes them."""

import pathlib
import warnings

from zoo.card_reader import read_card

ROOT = pathlib.Path(__file__).parent


def card_files(root):
    """List the files that should be cards, without those that editors and systems leave beside them.

    Args:
        root: `pathlib.Path` of a zoo.

    Returns:
        Sorted list of paths `cards/<dataset>/<norm>/<name>.json`.
    """
    found = sorted((root / "cards").glob("*/*/*.json"))
    return [p for p in found if not any(part[0] in ".#~_" for part in p.parts[-3:])]


def _read_cards():
    """Return the usable cards, and for each unusable one why it is."""
    cards, problems, places = {}, {}, {}
    for path in card_files(ROOT):
        name = path.stem
        places.setdefault(name.casefold(), []).append(path)
        try:
            cards[name] = read_card(path)
        except (ValueError, FileNotFoundError) as error:
            problems[name] = str(error)
    for paths in places.values():
        if len(paths) > 1:
            for name in {path.stem for path in paths}:
                cards.pop(name, None)
                problems[name] = (
                    "Expected one card of a name, whatever its capital letters. "
                    f"Received: {', '.join(map(str, paths))}"
                )
    return cards, problems


def names():
    """List the networks' names; a card that cannot be used is left out, with a warning that names it.

    Returns:
        List of str.
    """
    cards, problems = _read_cards()
    for problem in problems.values():
        warnings.warn(f"A card cannot be used. {problem}", stacklevel=2)
    return list(cards)


def check_source(source):
    """Refuse what is neither a file nor a network of the zoo; no framework is needed to tell.

    Args:
        source: path or name.

    Raises:
        FileNotFoundError: listing the zoo.
    """
    if not pathlib.Path(source).exists() and str(source) not in names():
        raise FileNotFoundError(
            f"There is no such file or run directory, and no network of the zoo, which has {names()}. "
            f"Received: network={source}"
        )


def card(name):
    """Return a network's card.

    Args:
        name: str, one of `names()`.

    Returns:
        Dict: `name`, `dataset`, `norm`, `epsilon`, `label_names`, `preprocessing`, `network` (how to
        build it), `parameters`, `weights` (file, SHA-256, bytes), `training` (recipe, history) and
        `evaluation` (the report's settings, seed, versions, n, accuracies in [0, 1]).

    Raises:
        ValueError: if there is no such network, or its card cannot be used.
    """
    cards, problems = _read_cards()
    if name in problems:
        raise ValueError(f"The card cannot be used. {problems[name]}")
    if name not in cards:
        raise ValueError(f"Unknown network. Expected one of {list(cards)}. Received: name={name!r}")
    return cards[name]
