"""Networks of the zoo."""

import functools
import pathlib

from sharedkeras import models
from zoo import weights_store
from zoo.cards_index import card, check_source


def load(name, *, zoo_url=None):
    """Load a pretrained robust network.

    Args:
        name: str, one of `zoo.names()`.
        zoo_url: str, address of weights that do not come with the package; default:
            `$SHAREDKERAS_ZOO_URL`.

    Returns:
        `keras.Model` from float32 images `(batch, H, W, C)` in [0, 1] to logits `(batch, K)`, on the
        active backend.

    Raises:
        ValueError: if the name is unknown or the weights are not those of the card.
        FileNotFoundError: if the weights are nowhere to be found.
    """
    entry = card(name)
    data = weights_store.read(entry["weights"], zoo_url=zoo_url)
    network = build(entry["network"], parameters=entry["parameters"])
    weights_store.unpack(data, network, where=entry["weights"]["file"])
    return network


def build(description, *, parameters=None):
    """Build the network that a card describes, newly initialised.

    Args:
        description: dict with the arguments of `sharedkeras.models.build`.
        parameters: int, how many it must have, which is found out before memory is taken; or None.

    Raises:
        ValueError: if there is no such network, or it has another number of parameters.
    """
    arguments = dict(description)
    arguments["input_shape"] = tuple(arguments["input_shape"])
    make = functools.partial(models.build, arguments.pop("model"), **arguments)
    if parameters is not None:
        found = models.count_parameters(make)
        if found != parameters:
            raise ValueError(
                f"The card describes another network: expected {parameters:,} parameters. "
                f"Received: {found:,} of {description}"
            )
    return make()


def find(source, *, weights="best", trust=False):
    """Load a network from wherever it is: a run directory, a `.keras` or `.h5` file, or the zoo.

    Args:
        source: path, or one of `zoo.names()`.
        weights: "best" or "last", for run directories.
        trust: bool, whether code in a file may run, as in `sharedkeras.models.load_network`.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: if there is nothing of that name; the message lists the zoo.
        ValueError: if a file is damaged.
    """
    check_source(source)
    if pathlib.Path(source).exists():
        return models.load_network(source, weights=weights, trust=trust)
    return load(str(source))
