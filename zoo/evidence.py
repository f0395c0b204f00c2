"""Compares a report with what a card is going to say of the network."""

import numpy as np

from sharedkeras import data
from sharedkeras.evaluation import weights_digest

# Papers round 8/255, which is 1.2 % more, to 0.031: a report may judge so much more strictly, and by
# that number itself.
_STRICTER = 1.02
_ROUNDED = {8 / 255: 0.031}
_SAME = 1e-6
_FEWEST = 1000  # Of 1,000 images the interval of an accuracy is at most 6 points wide.


def check_report(report, recipe, size, *, where):
    """Refuse a report that is not in the recipe's ball, on its test set or enough images of it.

    A subset must be one that anybody can draw again and that flatters nobody: at random or by stride
    over the whole set, never the first ones.

    Args:
        report: `Report`.
        recipe: dict, the recipe in the run's `config.json`.
        size: int, how many test images the recipe's data set has.
        where: path of the report, for messages.

    Raises:
        ValueError: naming what differs.
    """
    settings = report.settings
    options = recipe.get("attack_options")
    # A recipe names a norm only where it is another.
    trained = options.get("norm", "linf") if isinstance(options, dict) else "linf"
    for name, expected in (("dataset", recipe["dataset"]), ("split", "test"), ("norm", trained)):
        if settings.get(name) != expected:
            raise ValueError(
                f"The report is not the evidence for this network: expected {name} to be {expected!r}. "
                f"Received: {name}={settings.get(name)!r} in {where}"
            )
    _check_ball(settings, recipe["epsilon"], where)
    _check_images(report, recipe["dataset"], size, where)
    if not report.accuracy:
        raise ValueError(f"A card needs a report on at least one attack. Received: none in {where}")
    if report.plan is not None or settings.get("version") == "estimate":
        raise ValueError(
            "A card needs a report in which everybody was judged, and an estimate's accuracies are "
            "upper bounds. Go on to it in the same --resume_from directory with --version=standard. "
            f"Received: version={settings.get('version')!r} in {where}"
        )
    if report.verdict == "not usable":
        raise ValueError(
            f"A card needs a report whose verdict is not 'not usable': {report.verdict_sentence} "
            f"Received: {where}"
        )


def judged_images(settings, total, n):
    """Return the numbers of the test images that a report or a card is on.

    Args:
        settings: dict, a report's settings.
        total: int, test images that there are.
        n: int, images that were judged.

    Returns:
        `(n,)` int array, ascending.
    """
    if n == total:
        return np.arange(total)
    return data.subset(total, n, method=settings.get("subset"), seed=settings.get("subset_seed", 0))


def _check_images(report, dataset, size, where):
    settings = report.settings
    method, seed = settings.get("subset"), settings.get("subset_seed", 0)
    is_whole = report.n == size
    is_subset = _FEWEST <= report.n < size and method in ("random", "stride") and type(seed) is int
    if not (is_whole or is_subset) or settings.get("split_size", size) != size:
        raise ValueError(
            f"A card needs a report on all {size:,} test images of {dataset}, or on at least "
            f"{_FEWEST:,} of them chosen by --subset=random or --subset=stride. Received: "
            f"n={report.n:,}, subset={method!r}, split_size={settings.get('split_size')} in {where}"
        )
    if not np.array_equal(np.sort(report.indices), judged_images(settings, size, report.n)):
        expected = "each of the test images, numbered from 0" if is_whole else f"the subset {method!r}"
        raise ValueError(
            f"A card needs a report on {expected}{'' if is_whole else f' with seed {seed}'}. "
            f"Received: indices from {report.indices.min()} to {report.indices.max()} in {where}"
        )


def check_weights(report, network, *, where):
    """Refuse a report of other weights than those that are stored.

    Args:
        report: `Report`.
        network: `keras.Model` with the weights as they are stored.
        where: path of the report, for messages.

    Raises:
        ValueError: if their digest is not the report's.
    """
    told = report.settings.get("weights_sha256")
    if told != weights_digest(network):
        raise ValueError(
            "The report is of other weights. Expected those of the run, rounded if `dtype` rounds. "
            f"Received: weights_sha256={told!r} in {where}"
        )


def _check_ball(settings, trained, where):
    """Refuse another ball than the recipe's, and attacks in another one than the report states."""
    judged = settings.get("epsilon")
    least = min([trained, *(b for a, b in _ROUNDED.items() if abs(a - trained) <= _SAME)])
    if not _is_number(judged) or not least * (1 - _SAME) <= judged <= trained * _STRICTER:
        raise ValueError(
            f"The report is of another ball: expected epsilon to be the recipe's {trained}. "
            f"Received: epsilon={judged!r} in {where}"
        )
    attacks = settings.get("attacks", {})
    if not isinstance(attacks, dict) or not all(isinstance(a, dict) for a in attacks.values()):
        raise ValueError(
            f"The report is damaged: expected the attacks with their settings. "
            f"Received: attacks={str(attacks)[:80]} in {where}"
        )
    for name, attack in attacks.items():
        epsilon = attack.get("epsilon")
        # An attack in another norm, or one that looks for the smallest perturbation, has its own.
        if attack.get("norm") != settings["norm"] or epsilon is None:
            continue
        if not _is_number(epsilon) or abs(epsilon - judged) > _SAME:
            raise ValueError(
                f"The report contradicts itself: expected epsilon={judged} of each attack. "
                f"Received: epsilon={epsilon!r} of {name!r} in {where}"
            )


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
