"""The attacks that have a name: on command lines, in the paper's tables, in the contract tests."""

import dataclasses
import re

from sharedkeras.attacks import APGD, FAB, FGSM, PGD, CarliniWagner, Square
from sharedkeras.evaluation.suites.paper_settings import default_epsilon, is_of_paper, paper_settings

_TRAVEL = 2.5
"""The way of all steps of PGD together, in radii: it can cross the ball and come back (Madry et al.)."""
_LEARNING_RATE = 0.01
_NUMBERED = re.compile(r"([a-z-]+)(0*[1-9]\d*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What a name leaves open.

    Args:
        dataset: str, whose settings in the paper, if it has some, stand in for what is not given.
        norm: "linf", "l2" or "l1".
        radius: float above 0, or None for the paper's.
        queries: int, of a black-box attack.
        steps: int, the number in the attack's name.
    """

    dataset: str
    norm: str = "linf"
    radius: float | None = None
    queries: int = 5000
    steps: int = 1

    @property
    def epsilon(self):
        """The ball's size."""
        return default_epsilon(self.dataset, self.norm) if self.radius is None else self.radius

    @property
    def ball(self):
        """The norm and epsilon of the attacks that search a ball, as keyword arguments."""
        return {"norm": self.norm, "epsilon": self.epsilon}

    @property
    def step_size(self):
        """The paper's step in Linf on its datasets; else all steps together are 2.5 radii long."""
        if self.norm == "linf" and is_of_paper(self.dataset):
            return paper_settings(self.dataset)["step_size"]
        return _TRAVEL * self.epsilon / self.steps

    @property
    def learning_rate(self):
        """The paper's learning rate; on other datasets that of torchattacks."""
        if not is_of_paper(self.dataset):
            return _LEARNING_RATE
        return paper_settings(self.dataset)["learning_rate"]


_ATTACKS = {
    "fgsm": lambda s: FGSM(**s.ball),
    "pgd<steps>": lambda s: PGD(step_size=s.step_size, steps=s.steps, **s.ball),
    "mi-fgsm": lambda s: PGD(step_size=s.epsilon / 10, random_start=None, step="momentum", **s.ball),
    "cw": lambda s: CarliniWagner(
        c=1.0, kappa=0.0, steps=20, learning_rate=s.learning_rate, compat="torchattacks"
    ),
    "cw-search": lambda s: CarliniWagner(kappa=0.0, steps=100, learning_rate=0.05),
    "apgd-ce": lambda s: APGD(loss="ce", **s.ball),
    "apgd-dlr": lambda s: APGD(loss="dlr", **s.ball),
    "apgd-t": lambda s: APGD(loss="dlr-targeted", targets=9, **s.ball),
    "fab": lambda s: FAB(targeted=False, **s.ball),
    "fab-t": lambda s: FAB(targeted=True, targets=9, **s.ball),
    "square": lambda s: Square(queries=s.queries, **s.ball),
}


def names():
    """List the names that `make` knows; `pgd<steps>` stands for pgd1, pgd2, ..."""
    return list(_ATTACKS)


def make(name, setting, known=None):
    """Make an attack by name.

    Args:
        name: one of `names()`, with a number for `<steps>`.
        setting: `Setting`.
        known: list of the names that count here; all if None.

    Returns:
        The attack.

    Raises:
        ValueError: if the name is unknown or a value out of range.
    """
    known, pattern = names() if known is None else known, name
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        pattern = f"{numbered[1]}<steps>"
        setting = dataclasses.replace(setting, steps=int(numbered[2]))
    if pattern not in known or pattern not in _ATTACKS or "<" in name:
        raise ValueError(f"Unknown attack; known are {known}. Received: attack={name!r}")
    return _ATTACKS[pattern](setting)
