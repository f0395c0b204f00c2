"""Reads one card and refuses what cannot be true."""

import math
import re

from sharedkeras.files import read_json
from zoo.names import check_plain

FORMAT = "sharedkeras-card/1"
WHAT = "a card of the zoo"
_NORMS = ("linf", "l2", "l1")
_LARGEST = {"pixels": 2**22, "num_classes": 2**17, "latent_dim": 2**16, "bytes": 2**33}
_ENTRIES = {
    "name": str,
    "dataset": str,
    "norm": str,
    "epsilon": float,
    "label_names": list,
    "preprocessing": str,
    "network": dict,
    "parameters": int,
    "weights": dict,
    "training": dict,
    "evaluation": dict,
}


def read_card(path):
    """Read a card and check that its parts fit together.

    Args:
        path: `pathlib.Path`, `<dataset>/<norm>/<name>.json`.

    Returns:
        Dict.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no card; the message names the file and what was expected.
    """
    card = read_json(path, what=WHAT, entries=_ENTRIES, file_format=FORMAT, max_bytes=2**24)
    try:
        _check_names(card, path)
        _check_network(card)
        check_weights_entry(card["weights"])
        for evidence in (card["evaluation"], *card.get("further_evaluations", ())):
            _check_evaluation(card, evidence)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it lacks the entry {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"Expected {WHAT}, and it is none: {reason}. Received: path={path}") from error
    return card


def check_weights_entry(entry):
    """Refuse an entry `weights` that names no plain file, or no size and SHA-256 that a file can have.

    Args:
        entry: dict with `file`, `sha256` and `bytes`.

    Raises:
        ValueError: naming the part that is wrong.
    """
    check_plain("file", entry["file"])
    sha256, size = entry["sha256"], entry["bytes"]
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"`sha256` must be 64 hexadecimal digits. Received: sha256={sha256!r}")
    _check_integer("bytes", size, 1, _LARGEST["bytes"])


def _check_names(card, path):
    check_plain("name", card["name"])
    expected = (path.parent.parent.name, path.parent.name, path.stem)
    found = (card["dataset"], card["norm"], card["name"])
    if found != expected:
        raise ValueError(
            f"expected it at <dataset>/<norm>/<name>.json, so of {expected}, and it states {found}"
        )
    if card["norm"] not in _NORMS:
        raise ValueError(f"expected `norm` to be one of {_NORMS}, and it is {card['norm']!r}")
    if not card["epsilon"] > 0:
        raise ValueError(f"expected `epsilon` to be positive, and it is {card['epsilon']!r}")


def _check_network(card):
    network = card["network"]
    if not isinstance(network["model"], str):
        raise ValueError(f"expected `model` to be a name, and it is {network['model']!r}")
    if ":" in network["model"]:  # It would import a module.
        raise ValueError(f"expected `model` to be a network of this package, not {network['model']!r}")
    shape = network["input_shape"]
    if not isinstance(shape, list) or len(shape) != 3:
        raise ValueError(f"expected `input_shape` to be height, width, channels, and it is {shape!r}")
    for size in shape:
        _check_integer("input_shape", size, 1, _LARGEST["pixels"])
    _check_integer("pixels", math.prod(shape), 1, _LARGEST["pixels"])
    _check_integer("num_classes", network["num_classes"], 2, _LARGEST["num_classes"])
    if network["latent_dim"] is not None:
        _check_integer("latent_dim", network["latent_dim"], 1, _LARGEST["latent_dim"])
    labels = card["label_names"]
    if len(labels) != network["num_classes"] or not all(isinstance(label, str) for label in labels):
        raise ValueError(
            f"expected `label_names` to be {network['num_classes']} strings, one for each class, and "
            f"there are {len(labels)} entries"
        )


def _check_evaluation(card, evidence):
    _check_integer("n", evidence["n"], 1, 10**9)
    _check_share("clean", evidence["clean"], 1)
    _check_share("robust", evidence["robust"], evidence["clean"])
    accuracy = evidence["accuracy"]
    if not isinstance(accuracy, dict) or not accuracy:
        raise ValueError(f"expected `accuracy` by attack, and it is {accuracy!r}")
    for name, value in accuracy.items():
        _check_share(f"accuracy[{name!r}]", value, 1)
    if evidence["robust"] > min(accuracy.values()):
        raise ValueError("expected `robust` to be at most the accuracy under each attack")
    settings = evidence["settings"]
    for name in ("dataset", "norm", "epsilon"):
        if settings.get(name, card[name]) != card[name]:
            raise ValueError(
                f"expected {name} to be what was judged, {settings[name]!r}, and it is {card[name]!r}"
            )


def _check_integer(name, value, least, most):
    if type(value) is not int or not least <= value <= most:
        raise ValueError(
            f"expected `{name}` to be an integer in {least:,}..{most:,}, and it is {value!r}"
        )


def _check_share(name, value, most):
    if type(value) not in (int, float) or not 0 <= value <= most:
        raise ValueError(f"expected `{name}` to be a number in [0, {most}], and it is {value!r}")
