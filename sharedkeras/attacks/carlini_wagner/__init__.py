"""Carlini and Wagner's attack."""

from sharedkeras.attacks.carlini_wagner.carlini_wagner import CarliniWagner

__all__ = ["CarliniWagner"]
