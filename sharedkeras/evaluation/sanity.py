"""Whether to believe a robustness evaluation: its checks, each with a finding in words and figures."""

import dataclasses
import math
import time
from typing import ClassVar

import numpy as np
from keras import ops

from sharedkeras.arguments import need_positive
from sharedkeras.attacks import PGD, Attack, AttackResult
from sharedkeras.attacks.verdict import is_wrong, select, success_and_distance
from sharedkeras.evaluation.checks.after import CODES, after, refreshed
from sharedkeras.evaluation.checks.before import before
from sharedkeras.evaluation.checks.gradient_counts import EXAMPLES
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.math import norms, random
from sharedkeras.models import as_classifier

__all__ = ["after", "before", "check", "refreshed"]

_NOISE_DRAWS = 20
_LOSSES = ("ce", "margin")
_FEW, _MANY = 10, 40
_UNBOUNDED_STEPS = 50
_TRAVEL = 2.5
"""The way of all steps together, in radii: a point can cross the ball and come back (Madry et al.)."""


def check(network, x, y, *, norm="linf", epsilon=8 / 255, batch_size=64, seed=0, select=None):
    """Check what every honest evaluation fulfils, with a few attacks on at most 64 images.

    Besides the checks of `before`:

    - `unbounded-attack-fails`: with a ball that holds every image, PGD must break every point.
    - `noise-stronger`: random noise must not break a point that PGD of the same size does not.
    - `more-steps-weaker`: more steps must not raise the accuracy.

    Of a plain callable, which has no gradients, only `before` is checked.

    Args:
        network: `keras.Model` or callable on NumPy arrays, from images in [0, 1] to logits.
        x: `(n, H, W, C)` float images in [0, 1], of which the first 64 are looked at; or batches, as of
            `evaluate`.
        y: `(n,)` integer labels; None with batches.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0.
        batch_size: int, the most images at once.
        seed: int.
        select: str or int, which output to attack, where the network has several.

    Returns:
        Tuple of `Finding`s, empty for a network without such faults.

    Raises:
        ValueError: if the images, the labels, the norm or epsilon are not what they must be.

    Reference: N. Carlini et al., "On evaluating adversarial robustness", 2019.
    """
    norms.get(norm)
    need_positive(epsilon=epsilon)
    x, y = arrays(x, y)
    x, y = x[:EXAMPLES], y[:EXAMPLES]
    classifier = as_classifier(network, select)
    attacks = {"noise": _Noise(norm=norm, epsilon=epsilon)}
    if classifier.white_box:
        # The ball that holds every image, whichever it stands around.
        size = math.prod(np.shape(x)[1:])
        whole = float({"linf": 1, "l2": math.sqrt(size), "l1": size}[norm])
        attacks["few-ce"] = _pgd(norm, epsilon, _FEW, "ce")
        for loss in _LOSSES:
            attacks[f"many-{loss}"] = _pgd(norm, epsilon, _MANY, loss)
            attacks[f"whole-{loss}"] = _pgd(norm, whole, _UNBOUNDED_STEPS, loss)
    options = Options(cascade=False, batch_size=batch_size, seed=seed, verbose=False)
    report = judge(classifier, x, y, attacks, options)
    found = [finding for finding in report.findings if finding.code not in CODES]
    if len(attacks) > 1:
        found += _noise_stronger(report, epsilon)
        found += _unbounded(report, norm, whole)
        found += [f for f in after(report) if f.code == "more-steps-weaker"]
    return tuple(found)


def _pgd(norm, epsilon, steps, loss):
    # One step for both numbers of steps: a comparison of steps must vary nothing else.
    unbounded = steps == _UNBOUNDED_STEPS
    step_size = _TRAVEL * epsilon / (steps if unbounded else _FEW)
    # The best of more steps from the same start could not be worse, so the last iterate is compared.
    return PGD(
        norm=norm, epsilon=epsilon, step_size=step_size, steps=steps, loss=loss, keep_best=unbounded
    )


def _noise_stronger(report, epsilon):
    broken = ~report.flags["noise"]
    pgd = np.logical_and.reduce([report.flags[n] for n in ("few-ce", *(f"many-{k}" for k in _LOSSES))])
    missed = int(np.sum(broken & pgd))
    if not missed:
        return []
    return [
        Finding(
            "noise-stronger",
            "warning",
            f"{_NOISE_DRAWS} draws of random noise of size {epsilon:.3g} broke {missed} of {report.n} "
            f"points that PGD of up to {_MANY} steps did not (PGD leaves "
            f"{100 * pgd.mean():.1f} %, noise {100 * np.mean(~broken):.1f} %): following the gradient "
            "is worse than chance.",
        )
    ]


def _unbounded(report, norm, whole):
    left = int(np.sum(report.flags["whole-margin"] & report.flags["whole-ce"]))
    if not left:
        return []
    return [
        Finding(
            "unbounded-attack-fails",
            "error",
            f"PGD may change these images into any image ({norm}, radius {whole:.3g}, "
            f"{_UNBOUNDED_STEPS} steps, cross-entropy and margin), and {left} of {report.n} are still "
            "classified correctly. Images of other classes are in reach, but the gradients do not lead "
            "there.",
        )
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Noise(Attack):
    """Random images at the edge of the ball, as an attack: the last of them that is misclassified."""

    norm: str
    epsilon: float
    draws: int = _NOISE_DRAWS
    black_box: ClassVar[bool] = True

    def craft(self, task):
        """Try every draw."""
        classifier, x, y, index = task.classifier, task.x, task.y, task.index
        norm, key = norms.get(self.norm), random.key(task.seed, "noise")
        shape, adv, wrong = tuple(x.shape[1:]), x, None
        for draw in range(self.draws):
            noise = norm.sphere(random.key(key, draw), index, shape, x.dtype)
            if self.norm == "linf" and draw % 2:
                noise = random.sign(random.key(key, draw), index, shape, x.dtype)  # a corner
            there = ops.clip(x + self.epsilon * noise, 0.0, 1.0)
            hit = is_wrong(y, ops.convert_to_tensor(classifier.predict(there)))
            adv = select(hit, there, adv)
            wrong = hit if wrong is None else ops.logical_or(wrong, hit)
        success, distance = success_and_distance(norm, x, adv, wrong, self.epsilon)
        queries = ops.full((len(y),), self.draws, dtype="int32")
        return AttackResult(adv, success, ops.zeros_like(distance), distance, queries)


def with_sanity(report, network, x, y, *, norm="linf", epsilon=8 / 255, batch_size=64, select=None):
    """Attack at most 64 of the images as `sanity.check` does, and add its findings to a report.

    It costs 190 input gradients an image: PGD of 10 steps and twice 40 in the ball, twice 50 in one that
    holds every image. A code that the report has already is not added a second time: what it
    says there is of the attacks that were run, and of all examples.

    Args:
        report: `Report` of the same network.
        network: `keras.Model`.
        x: `(n, H, W, C)` float images in [0, 1], of which the first 64 are looked at; or batches, as of
            `evaluate`.
        y: `(n,)` integer labels; None with batches.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0.
        batch_size: int, the most images at once.
        select: str or int, which output to attack, where the network has several.

    Returns:
        `Report` with more findings; `settings["sanity"]` says on how many images, in which ball, in how
        many seconds, and which codes were found.

    Raises:
        ValueError: if the images, the labels, the norm or epsilon are not what they must be.
    """
    started = time.perf_counter()
    x, y = arrays(x, y)
    found = check(
        network,
        x,
        y,
        norm=norm,
        epsilon=epsilon,
        batch_size=batch_size,
        seed=report.seed,
        select=select,
    )
    note = {
        "examples": min(len(x), EXAMPLES),
        "norm": norm,
        "epsilon": epsilon,
        "seconds": round(time.perf_counter() - started, 1),
        "found": [finding.code for finding in found],
    }
    known = {finding.code for finding in report.findings}
    new = [finding for finding in found if finding.code not in known]
    return dataclasses.replace(
        report,
        findings=(*report.findings, *new),
        settings={**report.settings, "sanity": note},
    )
