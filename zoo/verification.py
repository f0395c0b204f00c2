"""Checks that a network of the zoo is what its card says."""

from sharedkeras import data, evaluation
from zoo.cards_index import card
from zoo.evidence import judged_images
from zoo.loading import load


def verify(name, *, data_dir=None, download=False, attacks=()):
    """Load a network and measure its natural accuracy again on the test images of its card.

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
    index = judged_images(evidence["settings"], len(test.x), n)
    report = evaluation.evaluate(
        network,
        test.x[index],
        test.y[index],
        evaluation.paper_attacks(entry["dataset"], list(attacks) or ["fgsm"]),
        index=index,
        seed=evidence["seed"],
        batch_size=evidence["settings"]["batch_size"],
    )
    if report.clean != evidence["clean"]:
        raise ValueError(
            f"The natural accuracy is not the card's {evidence['clean']} (n = {n}). "
            f"Received: {report.clean} with {evaluation.versions()}"
        )
    measured = {"clean": (evidence["clean"], report.clean)}
    told = dict(evidence["accuracy"])
    for further in entry.get("further_evaluations", ()):
        told |= further["accuracy"]
    for attack in attacks:
        measured[attack] = (told[attack], report.accuracy[attack])
    return measured
