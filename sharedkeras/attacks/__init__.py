"""Attacks: frozen dataclasses that craft inputs against a `FrozenClassifier`."""

from sharedkeras.attacks.attack import AttackResult
from sharedkeras.attacks.carlini_wagner import CarliniWagner
from sharedkeras.attacks.fgsm import FGSM
from sharedkeras.attacks.pgd import PGD

__all__ = ["FGSM", "PGD", "AttackResult", "CarliniWagner"]
