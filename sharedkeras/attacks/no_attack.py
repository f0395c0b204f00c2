"""Training without an attack, as an attack."""

import dataclasses
from typing import ClassVar

from keras import ops

from sharedkeras.arguments import need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.verdict import is_wrong, success_and_distance
from sharedkeras.math import norms


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoAttack(Attack):
    """Return the clean images: natural training for every objective, or the first epochs of a run.

    A network that is young learns what images show before it can learn to resist anything, and an epoch
    without attack costs a fraction of one with it.

        x' = x

    Args:
        norm: "linf", "l2" or "l1", for objectives that measure distances by it.
        epsilon: float above 0, the ball of the attack in whose place this one stands.

    Raises:
        ValueError: if a value is out of range.

    Reference: Q. Cai, C. Liu, D. Song, "Curriculum adversarial training", 2018.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255

    loss: ClassVar[str] = "ce"

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        need_positive(epsilon=self.epsilon)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example: none."""
        return 0

    def craft(self, task):
        """Return the images as they are, whatever start was given."""

        def verdict(view, x, y, epsilon, state):
            wrong = is_wrong(y, view(x, state)[0])
            return success_and_distance(norms.get(self.norm), x, x, wrong, epsilon)

        x, state = task.x, task.classifier.state
        success, distance = task.classifier.apply(self, verdict, x, task.y, task.epsilon, state)
        nothing = ops.zeros_like(task.epsilon)
        return AttackResult(x, success, nothing, distance, ops.ones_like(task.index))
