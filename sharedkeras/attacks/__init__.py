"""Attacks: frozen dataclasses that craft inputs against a `FrozenClassifier`."""

from sharedkeras.attacks.apgd.apgd import APGD
from sharedkeras.attacks.attack import AttackResult
from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner
from sharedkeras.attacks.fab.fab import FAB
from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.pgd import PGD
from sharedkeras.attacks.representation.representation import Representation
from sharedkeras.attacks.square.square import Square

__all__ = ["APGD", "FAB", "FGSM", "PGD", "AttackResult", "CarliniWagner", "Representation", "Square"]
