"""Whether a network's gradients can lead an attack at all."""

import numpy as np
from keras import ops

from sharedkeras import losses
from sharedkeras.attacks import APGD, FGSM, PGD, Square
from sharedkeras.attacks.attack import input_gradient
from sharedkeras.evaluation.report import Finding

EXAMPLES = 64
"""The most images on which a check is made: their shares are then known to some 6 percent points."""
CODES = ("constant-network", "non-finite-gradient", "zero-gradient")
"""Codes of what is found before the attacks that make a look at their ends idle."""
_LOSSES = ("ce", "margin", "dlr")
_NAMES = {"ce": "the cross-entropy", "margin": "the margin", "dlr": "DLR"}
_DOUBTFUL, _UNUSABLE = 0.05, 0.5
"""Shares of images above which blindness is a warning and an error."""
_FLOORS = {"linf": 1e-30}
_FLOOR = 1e-12
"""Gradients of the cross-entropy no larger than these are of no use. In Linf only signs count, and
float32 ends at 1e-38: from 1e-30 down ever more pixels read zero. The other norms divide a gradient by
its size plus 1e-12."""
_FLAT = 1e-10
"""A margin whose gradient is no larger than this share of the logits' spread does not move, whatever
the step: changing all of 100 000 pixels from black to white promises a hundred-thousandth of the spread.
DLR is a share of the spread already."""


def loss_of(attack):
    """Names the loss whose gradient leads an attack.

    Args:
        attack: an attack.

    Returns:
        "ce", "margin", "dlr", or None for an attack without gradients. FAB, Carlini-Wagner and attacks
        with a loss of one's own are counted as "margin", a difference of logits.
    """
    if getattr(attack, "black_box", isinstance(attack, Square)):
        return None
    loss = getattr(attack, "loss", "ce" if isinstance(attack, FGSM) else "margin")
    if loss in _LOSSES:
        return loss
    return "dlr" if loss == "dlr-targeted" else "margin"


def count(classifier, x, y, names=_LOSSES, *, norm="linf", size=None):
    """Counts the images on which a loss has no usable gradient.

    Args:
        classifier: `FrozenClassifier`.
        x: `(n, H, W, C)` images in [0, 1]; the first `size` are looked at.
        y: `(n,)` labels.
        names: of the losses; "dlr" stands for "margin" where there are fewer than three classes.
        norm: name of the norm whose attack follows the gradient.
        size: int, to which the batch is filled up, so that few graphs are compiled; n if None.

    Returns:
        Dict from loss to `(n, zero, broken)`: images looked at, those whose gradient is zero or too
        small to follow, those whose gradient is NaN or infinite.
    """
    n = min(len(x), size or len(x))
    if n == 0:
        return {name: (0, 0, 0) for name in names}
    rows = np.resize(np.arange(n), size or n)
    x, y = ops.convert_to_tensor(x[rows]), ops.convert_to_tensor(y[rows])
    found = {}
    for name in names:
        # The loss is an argument of one graph, for compiling it is what costs.
        kind = ops.convert_to_tensor(_LOSSES.index(name), dtype="int32")
        sizes, finite, spread = (
            ops.convert_to_numpy(t)[:n]
            for t in classifier.apply("check gradients", _sizes, x, y, kind, classifier.state)
        )
        floor = _FLOORS.get(norm, _FLOOR) if name == "ce" else _FLAT
        zero = finite & (sizes <= (floor * spread if name == "margin" else floor))
        found[name] = (n, int(zero.sum()), int((~finite).sum()))
    return found


def _sizes(view, x, y, kind, state):
    _, logits, gradient, _ = input_gradient(view, _chosen, (y, kind), x, state)
    axes = tuple(range(1, len(x.shape)))
    spread = ops.max(logits, axis=-1) - ops.min(logits, axis=-1)
    return ops.max(ops.abs(gradient), axis=axes), ops.all(ops.isfinite(gradient), axis=axes), spread


def _chosen(given, logits):
    y, kind = given
    value = losses.cross_entropy(y, logits)
    others = [losses.margin, losses.dlr if logits.shape[-1] > 2 else losses.margin]
    for number, other in enumerate(others, start=1):
        value = ops.where(kind == number, other(y, logits), value)
    return value


def count_end(classifier, attack, x, y, batch_size):
    """Counts as `count` does where an attack ended, for the loss that it followed.

    Args:
        classifier: `FrozenClassifier`.
        attack: the attack.
        x: `(n, H, W, C)` images that the attack left and that are still classified correctly.
        y: `(n,)` labels.
        batch_size: int, the most images at once.

    Returns:
        `(n, zero, broken)`, or None for an attack that does not end at its last point: those without
        gradients, and those that return the clean image where they fail.
    """
    if not isinstance(attack, APGD | PGD):
        return None
    name = loss_of(attack)
    size = min(EXAMPLES, batch_size)
    return count(classifier, x, y, [name], norm=attack.norm, size=size)[name]


def judge_start(counts, used):
    """Judges the gradients at the clean images.

    An ensemble is as good as its best member: where one loss is blind and another one in use is not,
    this is worth a note and no more.

    Args:
        counts: what `count` returns.
        used: names of the losses that the attacks follow.

    Returns:
        List of `Finding`s.
    """
    counts = {name: counts[name] for name in _LOSSES if name in counts and name in used}
    return [
        *_non_finite({f"of {_NAMES[name]}": c for name, c in counts.items()}, "the clean images"),
        *_zero(
            {f"of {_NAMES[name]}": c for name, c in counts.items()},
            "zero-gradient",
            "At the clean images",
        ),
    ]


def judge_end(counts):
    """Judges the gradients at the points where attacks ended without success.

    Args:
        counts: dict from an attack's name to `(n, zero, broken)` for its own loss.

    Returns:
        List of `Finding`s.
    """
    counts = {f"that {name} follows": c for name, c in counts.items() if c[0]}
    return [
        *_non_finite(counts, "the points where attacks ended"),
        *_zero(counts, "zero-gradient-at-end", "Where attacks ended without success"),
    ]


def _non_finite(counts, where):
    bad = {name: c for name, c in counts.items() if c[2]}
    if not bad:
        return []
    parts = ", ".join(f"{name} for {c[2]} of {c[0]} images" for name, c in bad.items())
    return [
        Finding(
            "non-finite-gradient",
            "error",
            f"At {where} the input gradient is NaN or infinite: {parts}. Such images cannot be attacked "
            "by gradients, so that their robustness is not known.",
        )
    ]


def _zero(counts, code, where):
    blind = {name: c for name, c in counts.items() if c[1]}
    if not blind:
        return []
    least = min(zero / n for n, zero, _ in counts.values())
    parts = ", ".join(f"{name} for {c[1]} of {c[0]} images" for name, c in blind.items())
    message = f"{where} the input gradient is zero or too small to follow: {parts}."
    sighted = [name for name, c in counts.items() if c[1] / c[0] <= _DOUBTFUL and name not in blind]
    if least > _DOUBTFUL:
        message += (
            " No attack by gradients sees more, so that what they leave standing is no evidence of "
            "robustness. Attack without gradients (Square), or without the part that is flat."
        )
    elif sighted:
        message += f" The gradient {' and '.join(sighted)} is not affected."
    else:
        message += " For so few images the verdicts rest on the other points of the way."
    severity = "error" if least > _UNUSABLE else "warning" if least > _DOUBTFUL else "info"
    return [Finding(code, severity, message)]


def strictest_norm(attacks):
    """Returns the norm among those of some attacks that asks the most of a gradient's size."""
    return next((a.norm for a in attacks if a.norm not in _FLOORS), "linf")
