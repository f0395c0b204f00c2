"""The outcome of a robustness evaluation: who survived which attack, and whether to believe it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from sharedkeras.evaluation.report import json_format, validation
from sharedkeras.evaluation.report.estimate import Estimate, Step
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.files import write_atomically


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """The outcome of one robustness evaluation, per example and in total.

    The flags are the truth and every accuracy is counted from them, over all `n` examples:
    an example that is misclassified without an attack counts as not robust.

    Args:
        flags: `"clean"` and then one entry per attack, in the order they ran: bool `(n,)`, True
            where the prediction is still correct. In a cascade, after this attack and all before
            it; otherwise under this attack alone.
        cascade: whether each attack saw only what the attacks before it had left standing.
        seconds: wall time of each attack (and of `"clean"`, if measured).
        settings: how the evaluation was made; kept as plain JSON values. The report page shows
            `"network"`, `"dataset"`, `"norm"`, `"epsilon"`, `"version"` in its headline and
            `"command"`, a command line or a list of them, as the way to reproduce it; `"shard"` is
            `[i, n]` for slice i of n.
        seed: the seed of the attacks' draws.
        versions: of `"sharedkeras"` and whatever else may change a number.
        findings: `Finding`s (or such triples) of the checks.
        adversarial: the worst case found, float `(n, height, width, channels)` in [0, 1]; the
            clean image where nothing was found. Not written to JSON.
        images: the clean images, of the same shape. Not written to JSON.
        indices: distinct global numbers of the examples, int `(n,)`; 0, 1, ... if not given.
        labels: true classes, int `(n,)`.
        predictions: classes predicted on the `"clean"` and the `"adversarial"` images, int `(n,)`.
        distance: per attack, the smallest norm of a successful perturbation, `(n,)`, inf without.
        margins: per attack, the true class's logit less the largest other one on the image that it
            ended at, `(n,)`, NaN for an example that it was not run on. Of estimates only.
        passes: per attack, the forward passes spent, a gradient counting as two, `(n,)`, NaN likewise.
        estimate: `Estimate` of the accuracy that AutoAttack's `standard` leaves; `flags` are then what
            was verified, and `robust` an upper bound.
        plan: of an estimate in slices, the `Step`s that every slice must have done next.
        history: columns of the training run's `metrics.csv`, all of one length.
        label_names: names of the classes.

    Raises:
        ValueError: if there is no example, or if the parts do not fit together.
    """

    flags: dict[str, np.ndarray] = dataclasses.field(repr=False)
    cascade: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    adversarial: np.ndarray | None = dataclasses.field(default=None, repr=False)
    images: np.ndarray | None = dataclasses.field(default=None, repr=False)
    indices: np.ndarray | None = dataclasses.field(default=None, repr=False)
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    predictions: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    distance: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    margins: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    passes: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    estimate: Estimate | None = None
    plan: tuple[Step, ...] | None = dataclasses.field(default=None, repr=False)
    history: dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    label_names: tuple[str, ...] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        """Bring every part to its one form and refuse what does not fit together."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in validation.checked(parts).items():
            object.__setattr__(self, name, value)  # the documented way around `frozen`

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.flags["clean"])

    @property
    def clean(self) -> float:
        """Accuracy without an attack, in [0, 1]."""
        return _share(self.flags["clean"])

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy by attack, in [0, 1]: under it alone or, in a cascade, after it."""
        return {name: _share(flag) for name, flag in self.flags.items() if name != "clean"}

    @property
    def robust_flags(self) -> np.ndarray:
        """Who is correct before and after every attack: bool `(n,)`."""
        return np.logical_and.reduce(list(self.flags.values()))

    @property
    def robust(self) -> float:
        """Accuracy in the worst case over all attacks, in [0, 1].

        The worst case is taken per example, which is lower than the accuracy under the strongest
        attack wherever another attack breaks an example that the strongest one does not.
        """
        return _share(self.robust_flags)

    @property
    def broken(self) -> dict[str, int]:
        """By attack, how many correct examples it broke; in a cascade, newly broke."""
        counts, before = {}, self.flags["clean"]
        for name, flag in self.flags.items():
            if name != "clean":
                counts[name] = int(np.sum(before & ~flag))
                before = flag if self.cascade else before
        return counts

    @property
    def verdict(self) -> str:
        """`"trustworthy"`, `"doubtful"` (a warning) or `"not usable"` (an error)."""
        severities = {finding.severity for finding in self.findings}
        if "error" in severities:
            return "not usable"
        return "doubtful" if "warning" in severities else "trustworthy"

    @property
    def verdict_sentence(self) -> str:
        """Why the verdict is what it is, as one sentence."""
        kind = {"not usable": "error", "doubtful": "warning"}.get(self.verdict)
        if kind is None:
            return "No check raised a warning or an error."
        codes = [finding.code for finding in self.findings if finding.severity == kind]
        count = f"One {kind} stands" if len(codes) == 1 else f"{len(codes)} {kind}s stand"
        return f"{count} against these numbers: {', '.join(dict.fromkeys(codes))}."

    def to_json(self, path) -> None:
        """Write everything but the images, so that a reader never sees half a file.

        Args:
            path: of the file, by custom `report.json`. Missing folders are made.
        """
        _write(path, json_format.dumps(self))

    @classmethod
    def from_json(cls, path) -> "Report":
        """Read what `to_json` wrote.

        Args:
            path: of the file.

        Returns:
            The report, without `images` and `adversarial`, which the file does not hold.

        Raises:
            ValueError: if the file is cut short, is no report, or contradicts itself.
        """
        stated = json_format.read(path)
        try:
            report = cls(**json_format.fields(stated))
            for name in ("n", "clean", "robust", "accuracy", "verdict"):
                if stated[name] != getattr(report, name):
                    raise ValueError(
                        f"`{name}` contradicts the rest of the file, which gives "
                        f"{getattr(report, name)!r}. Received: {name}={stated[name]!r}"
                    )
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise ValueError(
                f"Expected a usable report, and it is damaged or contradicts itself: {error}\n"
                f"Received: path={path}"
            ) from error
        return report

    def to_html(self, path, *, run=None) -> None:
        """Write one self-contained page that explains the evaluation to a reader.

        Args:
            path: of the file, by custom `report.html`. Missing folders are made.
            run: directory of the training run; its `metrics.csv` gives the training curves where
                the report has no `history`.
        """
        # Here, so that who only counts flags needs neither jinja2 nor pillow.
        from sharedkeras.evaluation.report.html import render

        _write(path, render(self, run=run))


def _write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def _share(flag):
    return int(np.sum(flag)) / len(flag)
