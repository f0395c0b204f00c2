"""Checks that a network of the zoo is what its card says."""

from sharedkeras import data, evaluation
from zoo.cards_index import card
from zoo.loading import load


def verify(name, *, data_dir=None, download=False, attacks=()):
    """Load a network and measures its natural accuracy again on all test images of its card.

    Args:
        name: str, one of `zoo.names()`.
        data_dir: directory of the data; that of TensorFlow Datasets if None.
        download: bool, whether to download absent data.
        attacks: names of the card's attacks to run again, such as `("pgd20",)`.

    Returns:
        Dict from "clean" and each attack to `(card, measured)`, accuracies in [0, 1].

    Raises:
        ValueError: if the weights or the natural accuracy are not those of the card.
        FileNotFoundError: if weights or data are absent.
    """
    entry = card(name)
    evidence = entry["evaluation"]
    network = load(name)
    test = data.load(entry["dataset"], "test", data_dir=data_dir, download=download)
    n = evidence["n"]
    report = evaluation.evaluate(
        network,
        test.x[:n],
        test.y[:n],
        evaluation.paper_attacks(entry["dataset"], list(attacks) or ["fgsm"]),
        seed=evidence["seed"],
        batch_size=evidence["settings"]["batch_size"],
    )
    if report.clean != evidence["clean"]:
        raise ValueError(
            f"The natural accuracy is not the card's {evidence['clean']} (n = {n}). "
            f"Received: {report.clean} with {evaluation.versions()}"
        )
    measured = {"clean": (evidence["clean"], report.clean)}
    for attack in attacks:
        measured[attack] = (evidence["accuracy"][attack], report.accuracy[attack])
    return measured
