"""Compares a report with what a card is going to say of the network."""

import numpy as np

from sharedkeras.evaluation import weights_digest

# The paper's 0.031 stands for 8/255, which is 1.2 % more: a report may judge so much more strictly.
_STRICTER = 1.02
_SAME = 1e-6


def check_evidence(report, network, recipe, size, *, where):
    """Refuse a report that is not of this network, in its recipe's ball, on the whole test set.

    Args:
        report: `Report`.
        network: `keras.Model` with the weights to publish.
        recipe: dict, the recipe in the run's `config.json`.
        size: int, how many test images the recipe's data set has.
        where: path of the report, for messages.

    Raises:
        ValueError: naming what differs.
    """
    settings = report.settings

    def need(name, found, expected):
        if found != expected:
            raise ValueError(
                f"The report is not the evidence for this network: expected {name} to be {expected!r}. "
                f"Received: {name}={found!r} in {where}"
            )

    need("dataset", settings.get("dataset"), recipe["dataset"])
    need("split", settings.get("split"), "test")
    need("norm", settings.get("norm"), "linf")  # Every recipe trains in Linf.
    _check_epsilon(settings, recipe["epsilon"], where)
    _check_attacks(settings, where)
    if report.n != size or settings.get("split_size", size) != size:
        raise ValueError(
            f"A card needs a report on all {size:,} test images of {recipe['dataset']}. "
            f"Received: n={report.n:,}, split_size={settings.get('split_size')} in {where}"
        )
    if not np.array_equal(np.sort(report.indices), np.arange(size)):
        raise ValueError(
            f"A card needs a report on each of the {size:,} test images, numbered from 0. "
            f"Received: indices from {report.indices.min()} to {report.indices.max()} in {where}"
        )
    if settings.get("weights_sha256") != weights_digest(network):
        raise ValueError(
            "The report is of other weights. Expected those of the run, rounded if `dtype` rounds. "
            f"Received: weights_sha256={settings.get('weights_sha256')!r} in {where}"
        )
    if not report.accuracy:
        raise ValueError(f"A card needs a report on at least one attack. Received: none in {where}")
    if report.verdict == "not usable":
        raise ValueError(
            f"A card needs a report whose verdict is not 'not usable': {report.verdict_sentence} "
            f"Received: {where}"
        )


def _check_epsilon(settings, trained, where):
    judged = settings.get("epsilon")
    is_number = isinstance(judged, int | float) and not isinstance(judged, bool)
    if not is_number or not trained * (1 - _SAME) <= judged <= trained * _STRICTER:
        raise ValueError(
            f"The report is of another ball: expected epsilon to be the recipe's {trained}. "
            f"Received: epsilon={judged!r} in {where}"
        )


def _check_attacks(settings, where):
    """Refuse attacks in a smaller ball of the same norm than the one that the report states."""
    for name, attack in (settings.get("attacks") or {}).items():
        if not isinstance(attack, dict) or attack.get("norm") != settings["norm"]:
            continue
        epsilon = attack.get("epsilon")
        if epsilon is not None and abs(epsilon - settings["epsilon"]) > _SAME:
            raise ValueError(
                f"The report contradicts itself: expected epsilon={settings['epsilon']} of each attack. "
                f"Received: epsilon={epsilon} of {name!r} in {where}"
            )
