"""AutoAttack: the ensemble of parameter-free attacks, as a cascade."""

import dataclasses
import math
import operator
from typing import ClassVar

import numpy as np

from sharedkeras.arguments import need_between, plain
from sharedkeras.attacks import Attack, AttackResult
from sharedkeras.attacks.apgd.apgd import effective_loss
from sharedkeras.attacks.attack import check_attacks
from sharedkeras.evaluation.checks.radius import check_radius
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.models import as_classifier

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
    shard=None,
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
        version: "standard", "plus", "rand", "paper", "quick" or "custom"; see `ensemble`.
        attacks: dict from name to attack, for `version="custom"`.
        batch_size: int, the most examples attacked at once.
        seed: int.
        select: str or int, which output to attack, where the network has several.
        shard: `(i, m)`: judge slice i of m, counted from 0; `evaluation.merge` joins the reports.
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
    classifier = as_classifier(network, select)
    if version == "custom":
        check_attacks(attacks, classifier)
    else:
        # An empty ball holds the clean image only; the attacks themselves refuse it.
        attacks = ensemble(version, norm=norm, epsilon=epsilon or 1.0)
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
    note = {"norm": norm, "epsilon": epsilon, "version": version, **piece, **(settings or {})}
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
        settings=note,
        findings=findings,
        checks=epsilon > 0,
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    report = judge(network, x, y, attacks, options)
    return _renamed(report, names) if epsilon == 0 else report


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


def checked_radius(norm, epsilon):
    """Return a ball's size as a float, or raise a ValueError that says what it must be."""
    need_between(0, None, epsilon=epsilon)
    epsilon = float(plain(epsilon))
    check_radius(norm, epsilon)
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
