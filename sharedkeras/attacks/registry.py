"""Training attacks by name."""

import functools

from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner
from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.n_fgsm import NFGSM
from sharedkeras.attacks.no_attack import NoAttack
from sharedkeras.attacks.pgd import PGD
from sharedkeras.attacks.representation.representation import Representation

_ATTACKS = {
    # One c: a search for each example's own would take hundreds of gradients an update.
    "cw": functools.partial(CarliniWagner, steps=20, search_steps=1, initial_c=1.0),
    "fgsm": FGSM,
    "n-fgsm": NFGSM,
    "none": NoAttack,
    "pgd": PGD,
    "representation": Representation,
}


def names():
    """List the names that `get` knows."""
    return sorted(_ATTACKS)


def get(name):
    """Find a training attack by its name.

    "cw" is `CarliniWagner` with 20 steps and c = 1; "representation" compares the features that the last
    dense layer reads. Both follow goals of their own, whatever loss an objective would have them climb.

    Args:
        name: one of `names()`.

    Returns:
        Function of the attack's fields that gives an `Attack`, such as its class; the attacks have a
        field `epsilon` and say their cost as `gradients`.

    Raises:
        ValueError: if there is no such attack.
    """
    if name not in _ATTACKS:
        raise ValueError(f"Unknown training attack; known are {names()}. Received: attack={name!r}")
    return _ATTACKS[name]
