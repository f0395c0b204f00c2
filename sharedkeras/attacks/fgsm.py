"""The fast gradient sign method."""

import dataclasses
from typing import ClassVar

from sharedkeras.arguments import need_count, need_positive
from sharedkeras.attacks.attack import Attack
from sharedkeras.attacks.pgd import PGD
from sharedkeras.math import norms


@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of steepest ascent of the cross-entropy, to the edge of the ball.

        x_adv = clip(x + epsilon * direction(gradient)),  direction = sign for Linf

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        eot_samples: int, draws of a randomised network for the gradient.

    Raises:
        ValueError: if a value is out of range.

    Reference: I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples",
        2015.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    eot_samples: int = 1

    role: ClassVar[str] = "one-step"
    loss: ClassVar[str] = "ce"

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        need_positive(epsilon=self.epsilon)
        need_count(eot_samples=self.eot_samples)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example."""
        return self.eot_samples

    def craft(self, task):
        """Make the one step of `PGD`."""
        return self._as_pgd().craft(task)

    def _as_pgd(self):
        # One projected step of size epsilon from the clean image is the whole method.
        return PGD(
            norm=self.norm,
            epsilon=self.epsilon,
            step_size=self.epsilon,
            steps=1,
            random_start=None,
            eot_samples=self.eot_samples,
        )
