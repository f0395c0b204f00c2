"""AutoAttack: the ensemble of parameter-free attacks, as a cascade."""

import dataclasses
import math
import operator
from typing import ClassVar

import numpy as np

from sharedkeras.arguments import need_between, need_radius, plain
from sharedkeras.attacks import Attack, AttackResult
from sharedkeras.attacks.apgd.apgd import effective_loss
from sharedkeras.attacks.attack import check_attacks
from sharedkeras.evaluation.estimating import rounds
from sharedkeras.evaluation.estimating.plan import Question
from sharedkeras.evaluation.estimating.schedule import EstimateSchedule
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.models import as_classifier

_PRECISION, _CONFIDENCE = 0.01, 0.95
_LOSSES = {"dlr-targeted": "targeted DLR (needs 4 classes)", "dlr": "DLR (needs 3 classes)"}


def autoattack(
    network,
    x,
    y=None,
    *,
    norm="linf",
    epsilon=8 / 255,
    version="standard",
    attacks=None,
    batch_size=256,
    seed=0,
    select=None,
    precision=None,
    confidence=None,
    shard=None,
    plan=None,
    index=None,
    settings=None,
    resume_from=None,
    label_names=None,
    verbose=None,
):
    """Judge a network with AutoAttack: each attack sees what the ones before it left standing.

    Every draw is keyed by (seed, attack, example), so that the verdicts do not depend on the batch size,
    the order of the examples, the slices or the devices, but for the rounding of kernels that differ
    with the shape of their input.

    Args:
        network: `keras.Model` from images in [0, 1] to logits, ours or not.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        norm: "linf", "l2" or "l1".
        epsilon: float at least 0; with 0 the robust accuracy is the clean one.
        version: "standard", "plus", "rand", "paper", "quick", "estimate" or "custom"; see `ensemble`.
            "estimate" judges all survivors of a first screen that are near to the boundary and a random
            sample of the others, and reports an interval that holds the verdict of "standard" with this
            seed on these images, at a fraction of its cost: `report.estimate`. `report.robust` is then
            what was verified, an upper bound.
        attacks: dict from name to attack, for `version="custom"`.
        batch_size: int, the most examples attacked at once.
        seed: int.
        select: str or int, which output to attack, where the network has several.
        precision: of "estimate", the largest width of the interval, a fraction in (0, 1]; 0.01 if None.
        confidence: of "estimate", the probability that the interval holds, in (0, 1); 0.95 if None.
        shard: `(i, m)`: judge slice i of m, counted from 0; `evaluation.merge` joins the reports. An
            estimate goes in rounds, and each slice needs a `resume_from` of its own.
        plan: of a slice of an estimate, the `Report` into which `merge` joined the slices of the round
            before; None in the first round.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report, such as the dataset's name.
        resume_from: path of a directory that keeps finished examples; a killed evaluation called again
            with it goes on and ends with the same verdicts, and so does a longer one (`version`). It
            belongs to one network, its images, labels and seed; for others it is refused.
        label_names: names of the classes, for the report.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report` with the accuracy after each attack.

    Raises:
        ValueError: if the images, labels, settings or the network's output are not what they must be.

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020.
    """
    x, y = arrays(x, y)
    if (version == "custom") != (attacks is not None):
        raise ValueError(
            "`attacks` goes with version='custom', and only with it. "
            f"Received: version={version!r}, attacks={attacks!r}"
        )
    epsilon = checked_radius(norm, epsilon)
    question = _question(version, precision, confidence)
    classifier = as_classifier(network, select)
    if version == "custom":
        check_attacks(attacks, classifier)
    else:
        # An empty ball holds the clean image only; the attacks themselves refuse it.
        attacks = ensemble(version, norm=norm, epsilon=epsilon or 1.0)
    note = {"norm": norm, "epsilon": epsilon, "version": version}
    schedule = steps = None
    if question is not None:
        _refuse_random(classifier)
        note |= dataclasses.asdict(question)
        numbers = np.arange(len(x)) if index is None else np.asarray(index)
        if shard is not None:
            steps = rounds.checked_steps(plan, resume_from, numbers, classifier, seed, note)
        schedule = EstimateSchedule(question, seed, steps) if epsilon > 0 else None
    if plan is not None and steps is None:
        raise ValueError(
            "`plan` goes with version='estimate' and a `shard`, and only with both. "
            f"Received: version={version!r}, shard={shard!r}, plan={plan!r}"
        )
    x, y, index, piece = _slice(x, y, index, shard)
    findings = []
    if version == "quick":
        findings.append(
            Finding(
                "upper-bound",
                "info",
                "The version 'quick' runs APGD-CE and APGD-T only: its robust accuracy is an upper "
                "bound of what the version 'standard' gives.",
            )
        )
    if epsilon == 0:
        findings.append(
            Finding("empty-ball", "info", "epsilon is 0: the robust accuracy is the clean accuracy.")
        )
        names, attacks = list(attacks), {"none": _Nothing()}
    findings += _few_classes(classifier, attacks)
    options = Options(
        cascade=True,
        batch_size=batch_size,
        seed=seed,
        select=select,
        index=index,
        settings={**note, **piece, **(settings or {})},
        findings=findings,
        keep_margins=schedule is not None,
        checks=epsilon > 0,
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    report = judge(network, x, y, attacks, options, schedule)
    report = _renamed(report, names) if epsilon == 0 else report
    if question is None:
        return report
    return rounds.concluded(report) if shard is None else rounds.unfinished(report, steps)


@dataclasses.dataclass(frozen=True)
class _Nothing(Attack):
    """The attack that an empty ball leaves: none."""

    norm: str = "linf"
    epsilon: float = 0.0
    black_box: ClassVar[bool] = True

    def craft(self, task):
        """Return the images as they are."""
        none = np.zeros(len(task.x), int)
        return AttackResult(task.x, none > 0, none + 0.0, none + math.inf, none)


def _question(version, precision, confidence):
    """Return what an estimate is asked, or None where nothing is estimated."""
    if version == "estimate":
        return Question(
            precision=_PRECISION if precision is None else precision,
            confidence=_CONFIDENCE if confidence is None else confidence,
        )
    if precision is not None or confidence is not None:
        raise ValueError(
            "`precision` and `confidence` go with version='estimate', and only with it. "
            f"Received: version={version!r}, precision={precision!r}, confidence={confidence!r}"
        )
    return None


def _refuse_random(classifier):
    if classifier.random:
        raise ValueError(
            "version='estimate' needs a network whose verdicts on an example do not hang on the other "
            "examples of its batch, and one that is random at inference draws for a batch. Use "
            f"version='rand'. Received: network={classifier.name!r}"
        )


def checked_radius(norm, epsilon):
    """Return a ball's size as a float, or raise a ValueError that says what it must be."""
    need_between(0, None, epsilon=epsilon)
    epsilon = float(plain(epsilon))
    need_radius(norm, epsilon)
    return epsilon


def _renamed(report, names):
    clean = report.flags["clean"]
    return dataclasses.replace(
        report,
        flags={"clean": clean, **{name: clean for name in names}},
        seconds={"clean": report.seconds["clean"], **dict.fromkeys(names, 0.0)},
        distance=None,
    )


def _slice(x, y, index, shard):
    if shard is None:
        return x, y, index, {}
    i, m = _checked_shard(shard)
    index = np.arange(len(x)) if index is None else np.asarray(index)
    # Every m-th example: classes and difficulties spread evenly, so that slices take equally long.
    part = slice(i, None, m)
    if not len(index[part]):
        raise ValueError(f"The slice has no example. Received: shard={shard!r} of {len(x)} examples")
    return x[part], y[part], index[part], {"shard": [i, m]}


def _checked_shard(shard):
    try:
        i, m = map(operator.index, shard)
    except (TypeError, ValueError):
        i, m = -1, 0
    if not 0 <= i < m:
        raise ValueError(f"`shard` must be (i, m) with 0 <= i < m. Received: shard={shard!r}")
    return i, m


def _few_classes(classifier, attacks):
    classes = classifier.num_classes
    if classes is None:
        return []
    replaced = dict.fromkeys(
        attack.loss for attack in attacks.values() if effective_loss(attack, classes) != attack.loss
    )
    if not replaced:
        return []
    names = " and ".join(_LOSSES[loss] for loss in replaced)
    return [
        Finding(
            "few-classes",
            "info",
            f"With {classes} classes {names} is replaced by the margin of the logits.",
        )
    ]
