"""Attacks: frozen dataclasses that craft inputs against a `FrozenClassifier`."""

from sharedkeras.attacks.apgd import APGD
from sharedkeras.attacks.attack import AttackResult
from sharedkeras.attacks.carlini_wagner import CarliniWagner
from sharedkeras.attacks.fab import FAB
from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.pgd import PGD
from sharedkeras.attacks.representation import Representation
from sharedkeras.attacks.square import Square

__all__ = ["APGD", "FAB", "FGSM", "PGD", "AttackResult", "CarliniWagner", "Representation", "Square"]
