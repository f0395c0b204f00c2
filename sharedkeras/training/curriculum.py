"""Training attacks that follow one another."""

import copy
import dataclasses
import itertools


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Training attacks, each from an epoch on.

    Few large steps teach an untrained network as much as many small ones and cost less, and the last
    epochs decide what survives a strong attack.

    Args:
        stages: tuple of `(epoch, attack)`, the first epoch 0, epochs (counted from 0) rising.

    Raises:
        ValueError: if the epochs do not begin at 0 or do not rise.
    """

    stages: tuple

    def __post_init__(self):
        """Check the epochs, so that a wrong one is seen before any work."""
        begins = [begin for begin, _ in self.stages]
        if not begins or begins[0] != 0 or any(a >= b for a, b in itertools.pairwise(begins)):
            raise ValueError(f"The stages' epochs must begin at 0 and rise. Received: {begins}")

    def at(self, epoch):
        """Return the attack of an epoch, counted from 0."""
        return [attack for begin, attack in self.stages if begin <= epoch][-1]


def with_attack(objective, attack):
    """Return the same objective, what it remembers included, with another training attack.

    Args:
        objective: an objective with a field `attack`.
        attack: the attack.
    """
    other = copy.copy(objective)
    object.__setattr__(other, "attack", attack)  # The objective is frozen, its copy is ours.
    return other
