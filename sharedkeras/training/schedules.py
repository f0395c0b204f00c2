"""Coefficients that change from epoch to epoch."""

import dataclasses
import math

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class ExponentialRamp:
    """Grows a coefficient exponentially between two epochs; the paper's schedule of beta.

        v(e) = initial                                            for e < begin
        v(e) = initial (final / initial)^((e - begin) / (end - begin))   between
        v(e) = final                                              for e >= end

    Starting small keeps the encoder from collapsing into a fixed representation.

    Args:
        initial: float above 0.
        final: float above 0.
        begin: float, the epoch (counted from 0) at which the growth starts.
        end: float above `begin`, the epoch at which it ends.

    Raises:
        ValueError: if a value is out of range.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        section 4.1.
    """

    initial: float
    final: float
    begin: float
    end: float

    def __post_init__(self):
        """Check the values, so that a wrong one is seen before any work."""
        if not (self.initial > 0 and self.final > 0 and self.end > self.begin):
            raise ValueError(f"The ramp needs initial > 0, final > 0 and end > begin. Received: {self}")

    def __call__(self, epoch=None):
        """Evaluate the ramp at an epoch (scalar tensor or number); None gives the final value."""
        if epoch is None:
            return self.final
        epoch = ops.cast(epoch, keras.config.floatx())
        share = ops.clip((epoch - self.begin) / (self.end - self.begin), 0.0, 1.0)
        return self.initial * ops.exp(share * math.log(self.final / self.initial))

    @classmethod
    def paper(cls, final, epochs=120):
        """Return the paper's ramp of beta: from 1e-3 over epochs 10 to 100 of 120, scaled to a run.

        Args:
            final: float above 0, the value of Table 12 or section 4.3.
            epochs: int, the run's length.
        """
        return cls(1e-3, final, 10 * epochs / 120, 100 * epochs / 120)
