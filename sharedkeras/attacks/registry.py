"""Training attacks by name."""

from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.n_fgsm import NFGSM
from sharedkeras.attacks.no_attack import NoAttack
from sharedkeras.attacks.pgd import PGD

_ATTACKS = {"fgsm": FGSM, "n-fgsm": NFGSM, "none": NoAttack, "pgd": PGD}


def names():
    """List the names that `get` knows."""
    return sorted(_ATTACKS)


def get(name):
    """Find a training attack's class by its name.

    Args:
        name: one of `names()`.

    Returns:
        The class; its attacks have a field `epsilon` and say their cost as `gradients`.

    Raises:
        ValueError: if there is no such attack.
    """
    if name not in _ATTACKS:
        raise ValueError(f"Unknown training attack; known are {names()}. Received: attack={name!r}")
    return _ATTACKS[name]
