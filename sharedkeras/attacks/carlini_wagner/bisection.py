"""The rules of Carlini and Wagner's own attack: for each example the smallest c that succeeds."""

import dataclasses
import math
from typing import Any

from keras import ops

from sharedkeras import losses
from sharedkeras.attacks.verdict import is_wrong
from sharedkeras.models.classifiers.gradients import mean_logits

_SHRINK = 0.999999  # Of the authors' code: keeps atanh finite, so that black and white pixels can move.
_PROGRESS = 1e-4  # Of the authors' code: a tenth of the steps must lower the cost by this share.
_HAS_UPPER = 1e9  # Of the authors' code: the bound below which c has succeeded.


@dataclasses.dataclass(frozen=True)
class Bisection:
    """What the search of `CarliniWagner` asks, answered as the paper and its authors' code do.

    Args:
        attack: `CarliniWagner`.
    """

    attack: Any

    @property
    def values_of_c(self):
        """The number of values of c that are tried."""
        return self.attack.search_steps

    @property
    def first_c(self):
        """The first value of c."""
        return self.attack.initial_c

    def all_done(self, done):
        """Tell whether no further value of c is needed, of a NumPy bool array by example."""
        return done.all()

    def to_tanh_space(self, start):
        """Return w and which pixels can move: `(batch, H, W, C)`, the latter bool."""
        # Cast, since Keras on JAX gives float32 for float64 in tanh and its inverse.
        w = ops.cast(ops.arctanh(_SHRINK * (2.0 * start - 1.0)), start.dtype)
        return w, ops.ones_like(start, dtype="bool")

    def already_done(self, view, x, y, state):
        """Tell which images need no search: `(done, passes, state)`."""
        # An image that is misclassified as it is needs none.
        logits, state = mean_logits(view, x, state, self.attack.eot_samples)
        return self.succeeds(y, logits), self.attack.eot_samples, state

    def choose_c(self, i, t, search, start):
        """Before the first step with a new c: chooses it and starts anew."""
        fresh = ops.equal(t, 0)
        c, lower, upper = search.c, search.lower, search.upper
        tried = ops.logical_and(fresh, i > 0)
        upper = ops.where(ops.logical_and(tried, search.found), ops.minimum(upper, c), upper)
        failed = ops.logical_and(tried, ops.logical_not(search.found))
        lower = ops.where(failed, ops.maximum(lower, c), lower)
        halved = ops.where(upper < _HAS_UPPER, 0.5 * (lower + upper), 10.0 * c)
        if self.values_of_c >= 10:  # The authors' code ends with a c that is known to succeed.
            last = ops.equal(i, (self.values_of_c - 1) * self.attack.steps)
            halved = ops.where(last, upper, halved)
        w, _ = self.to_tanh_space(start)
        nothing = ops.zeros_like(search.mean)
        return search._replace(
            w=ops.where(fresh, w, search.w),
            mean=ops.where(fresh, nothing, search.mean),
            square=ops.where(fresh, nothing, search.square),
            c=ops.where(tried, halved, c),
            lower=lower,
            upper=upper,
            found=ops.logical_and(search.found, ops.logical_not(fresh)),
            active=ops.where(fresh, ops.logical_not(search.done), search.active),
            previous=ops.where(fresh, ops.full_like(c, math.inf), search.previous),
        )

    def progress(self, cost):
        """Return the cost that must fall, `(batch,)`, and by which share of itself."""
        return cost, _PROGRESS

    def f(self, y, logits):
        """Compute the part of the cost that is positive until the example is misclassified."""
        gap = -losses.margin(y, logits)
        return ops.where(gap >= -self.attack.kappa, gap, ops.full_like(gap, -self.attack.kappa))

    def succeeds(self, y, logits):
        """Tell which examples are misclassified by `kappa` at least, `(batch,)` bool."""
        if self.attack.kappa:
            own = ops.one_hot(ops.cast(y, "int32"), logits.shape[-1], dtype=logits.dtype)
            logits = logits + self.attack.kappa * own
        return is_wrong(y, logits)
