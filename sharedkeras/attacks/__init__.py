"""Attacks: frozen dataclasses that craft inputs against a classifier."""

from sharedkeras.attacks.apgd.apgd import APGD
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner
from sharedkeras.attacks.fab.fab import FAB
from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.n_fgsm import NFGSM
from sharedkeras.attacks.no_attack import NoAttack
from sharedkeras.attacks.pgd import PGD
from sharedkeras.attacks.representation.representation import Representation
from sharedkeras.attacks.square.square import Square

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "NFGSM",
    "PGD",
    "Attack",
    "AttackResult",
    "CarliniWagner",
    "NoAttack",
    "Representation",
    "Square",
]
