"""The attack on a representation."""

from sharedkeras.attacks.representation.representation import Representation

__all__ = ["Representation"]
