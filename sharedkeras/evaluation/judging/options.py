"""How an evaluation is run, as one value."""

import dataclasses
from typing import Any

from sharedkeras.arguments import need_count, need_seed, plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How an evaluation is run and what its report is to say.

    Args:
        cascade: whether each attack sees only what the ones before it left standing.
        batch_size: the most examples attacked at once, at least 1.
        seed: all draws follow from it and the examples' numbers.
        select: which output to attack, where the network has several.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: further entries for the report.
        findings: `Finding`s to start with.
        keep_margins: whether the report is to hold each example's margins and passes.
        checks: whether to check the network and the outcome, and to add what is found.
        resume_from: path of the directory that keeps finished examples, or None.
        label_names: names of the classes.
        verbose: whether to show progress; None shows it on a terminal.

    Raises:
        ValueError: if `batch_size` or `seed` is not a whole number in range.
    """

    cascade: bool
    batch_size: int
    seed: int = 0
    select: str | int | None = None
    index: Any = None
    settings: dict | None = None
    findings: tuple = ()
    keep_margins: bool = False
    checks: bool = True
    resume_from: Any = None
    label_names: Any = None
    verbose: bool | None = None

    def __post_init__(self):
        """Check the numbers and bring them to Python's type."""
        need_count(batch_size=self.batch_size)
        need_seed(seed=self.seed)
        for name in ("batch_size", "seed"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "findings", tuple(self.findings))
