"""Square Attack."""

from sharedkeras.attacks.square.square import Square

__all__ = ["Square"]
