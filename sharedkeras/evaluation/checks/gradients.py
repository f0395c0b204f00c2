"""Whether a network's gradients can lead an attack at all."""

import numpy as np

from sharedkeras.evaluation.checks.gradient_counts import _LOSSES
from sharedkeras.evaluation.report.finding import Finding

CODES = ("constant-network", "non-finite-gradient", "zero-gradient")
"""Findings that make the check at the end of an attack redundant."""
_NAMES = {"ce": "the cross-entropy", "margin": "the margin", "dlr": "DLR"}
_DOUBTFUL, _UNUSABLE = 0.05, 0.5
"""Shares of images above which blindness is a warning and an error."""


def judge_start(counts, used):
    """Judge the gradients at the clean images.

    An ensemble is as good as its best member: where one loss is blind and another one in use is not,
    this is worth a note and no more.

    Args:
        counts: what `count` returns.
        used: names of the losses that the attacks follow.

    Returns:
        List of `Finding`s.
    """
    chosen = [name for name in _LOSSES if name in used and counts[name][0]]
    counts = {f"of {_NAMES[name]}": counts[name] for name in chosen}
    return [
        *_non_finite(counts, "the clean images"),
        *_zero(counts, "zero-gradient", "At the clean images"),
    ]


def judge_end(counts):
    """Judge the gradients at the points where attacks ended without success.

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


def judge_checkpoints(counts):
    """Judge the gradients at the checkpoints of APGD.

    Args:
        counts: dict from an attack's name to what its `Watch` counted.

    Returns:
        List of `Finding`s, at most one of each code: for each attack the worst checkpoint speaks.
    """
    chosen = {}
    for name, at in counts.items():
        # The largest share speaks; of equal ones, that of the most images.
        iterations, found = max(at.items(), key=lambda entry: _share(*entry[1]))
        if found[0]:
            chosen[f"that {name} follows after {iterations} iterations"] = found
    return [
        *_non_finite(chosen, "checkpoints of APGD"),
        *_zero(chosen, "zero-gradient-on-the-way", "At checkpoints of APGD"),
    ]


def softened(findings, clean, standing):
    """Turn blindness at the clean images into a note where the attacks broke the points all the same.

    A random start can leave the flat place; gradients that are zero say nothing against an attack that
    succeeded.

    Args:
        findings: list of `Finding`s.
        clean: `(n,)` bool, correct without an attack.
        standing: `(n,)` bool, correct under all attacks.

    Returns:
        List of `Finding`s.
    """
    left, total = int(np.sum(standing)), int(np.sum(clean))
    if left > _DOUBTFUL * total:
        return list(findings)
    note = f" The attacks broke all but {left} of {total} points nevertheless."
    return [
        f._replace(severity="info", message=f.message + note) if f.code == "zero-gradient" else f
        for f in findings
    ]


def _share(n, zero, broken):
    return ((zero + broken) / n if n else 0.0), n


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
