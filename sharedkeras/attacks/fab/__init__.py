"""Fast adaptive boundary attack."""

from sharedkeras.attacks.fab.fab import FAB

__all__ = ["FAB"]
