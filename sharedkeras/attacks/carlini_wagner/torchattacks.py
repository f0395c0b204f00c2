"""The rules of the attack that torchattacks 0.x calls CW, which tables made with it report."""

import dataclasses
from typing import Any

from keras import ops

from sharedkeras.attacks.verdict import is_wrong


@dataclasses.dataclass(frozen=True)
class Torchattacks:
    """What the search of `CarliniWagner` asks, answered as torchattacks does; see `Bisection`.

    c is fixed; logits below zero count as zero in f; pixels that are exactly 0 or 1 never move; and the
    whole batch stops as soon as its summed cost has risen. Each makes the attack weaker.

    Args:
        attack: `CarliniWagner`.
    """

    attack: Any

    values_of_c = 1

    @property
    def first_c(self):
        """The value of c, which stays."""
        return self.attack.c

    def all_done(self, done):
        """Return False: only the summed cost ends the search."""
        return False

    def to_tanh_space(self, start):
        """Return w and which pixels can move: `(batch, H, W, C)`, the latter bool."""
        signed = 2.0 * start - 1.0
        # torchattacks has an infinite w where a pixel is exactly 0 or 1, and a zero gradient there.
        movable = ops.abs(signed) < 1.0
        w = ops.arctanh(ops.where(movable, signed, ops.zeros_like(signed)))
        return ops.cast(w, start.dtype), movable

    def already_done(self, view, x, y, state):
        """Return that every image is searched, misclassified or not."""
        return ops.zeros_like(x[:, 0, 0, 0], dtype="bool"), 0, state

    def choose_c(self, i, t, search, start):
        """Return the search as it is."""
        return search

    def progress(self, cost):
        """Return the summed cost, which must not rise."""
        return ops.broadcast_to(ops.sum(cost), ops.shape(cost)), 0.0

    def f(self, y, logits):
        """Compute the part of the cost that is positive until the example is misclassified."""
        own = ops.one_hot(ops.cast(y, "int32"), logits.shape[-1], dtype=logits.dtype)
        gap = ops.max(own * logits, axis=-1) - ops.max((1.0 - own) * logits, axis=-1)
        return ops.where(gap >= -self.attack.kappa, gap, ops.full_like(gap, -self.attack.kappa))

    def succeeds(self, y, logits):
        """Tell which examples are misclassified, `(batch,)` bool."""
        return is_wrong(y, logits)
