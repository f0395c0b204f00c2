"""What a sample of the survivors says of AutoAttack's full verdict."""

import dataclasses
import math
from typing import Any, NamedTuple


class Step(NamedTuple):
    """Work that must be done before it can be said how an estimate goes on.

    Attributes:
        attacks: tuple of names, to be run in turn, each on whom the one before left standing.
        index: `(m,)` ints, the numbers of the examples.
    """

    attacks: tuple
    index: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The accuracy that AutoAttack's `standard` would leave, estimated from a part of its work.

    The interval is about the verdict on these very examples with this seed. How far the accuracy on
    other images of the same kind may be from it is another question, which Wilson's interval answers.

    Args:
        value: the estimate, in [0, 1].
        low, high: ends of the interval, in [0, 1].
        confidence: probability with which the interval holds the verdict, in (0, 1).
        precision: the width that was asked for, in (0, 1].
        survivors: examples that the screen left.
        census: of these, the nearest to the boundary, each judged in full.
        audited: of the others, those drawn at random and judged in full.
        broken_in_census, broken_in_audit: how many of each were broken.
        cost: forward passes spent, as a share of those that `standard` takes on the same examples.

    Raises:
        ValueError: if the numbers contradict each other.
    """

    value: float
    low: float
    high: float
    confidence: float
    precision: float
    survivors: int
    census: int
    audited: int
    broken_in_census: int
    broken_in_audit: int
    cost: float

    def __post_init__(self):
        """Refuse numbers that contradict each other."""
        ordered = 0 <= self.low <= self.value <= self.high <= 1
        counted = (
            0 <= self.broken_in_census <= self.census
            and 0 <= self.broken_in_audit <= self.audited
            and self.census + self.audited <= self.survivors
        )
        shares = 0 < self.confidence < 1 and 0 < self.precision <= 1
        if not (ordered and counted and shares and math.isfinite(self.cost) and self.cost >= 0):
            raise ValueError(
                "An estimate must have 0 <= low <= value <= high <= 1, no more examples broken than "
                "judged, no more judged than survivors, confidence and precision within (0, 1) and "
                f"(0, 1], and a finite cost. Received: {self}"
            )

    @property
    def judged(self):
        """The survivors that were judged in full."""
        return self.census + self.audited

    @property
    def exact(self):
        """Whether everybody was judged in full."""
        return self.judged == self.survivors

    def percent(self, share):
        """Write a share in percent, with as many digits as the precision asked for needs."""
        digits = max(1, math.ceil(-math.log10(self.precision)) - 1)
        return f"{100 * share:.{digits}f}"

    @property
    def sentence(self):
        """The estimate as it is to be quoted."""
        ends = f"{self.percent(self.low)} to {self.percent(self.high)}"
        interval = "exact" if self.exact else f"{100 * self.confidence:g} %: {ends}"
        return (
            f"estimate of AutoAttack standard: {self.percent(self.value)} % ({interval}), "
            f"{self.judged:,} of {self.survivors:,} survivors judged in full"
        )
