"""Auto-PGD."""

from sharedkeras.attacks.apgd.apgd import APGD, effective_loss

__all__ = ["APGD", "effective_loss"]
