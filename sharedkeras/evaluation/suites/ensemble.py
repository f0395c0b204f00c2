"""The versions of AutoAttack."""

import dataclasses

from sharedkeras.attacks import APGD, FAB, Square
from sharedkeras.attacks.apgd.apgd import GLANCE
from sharedkeras.math import norms

SCREEN = ("apgd-ce", "apgd-t-3", "apgd-t-glance", "apgd-t-rest")
"""The attacks of `estimate` that find out which examples are near to the boundary; the third is the
beginning of the fourth."""
SCREEN_TARGETS = 3
REST = ("fab-t", "square")
"""The rest of `standard`: with the screen's attacks they are all of it."""

_PLUS_RESTARTS = 5


_RAND_SAMPLES = 20


def _standard(norm, epsilon):
    ce_restarts, targets = (5, 5) if norm == "l1" else (1, 9)
    return {
        "apgd-ce": APGD(norm=norm, epsilon=epsilon, loss="ce", restarts=ce_restarts),
        "apgd-t": APGD(norm=norm, epsilon=epsilon, loss="dlr-targeted", targets=targets),
        "fab-t": FAB(norm=norm, epsilon=epsilon, targeted=True, targets=9),
        "square": Square(norm=norm, epsilon=epsilon, queries=5000),
    }


def _plus(norm, epsilon):
    many = {"norm": norm, "epsilon": epsilon, "restarts": _PLUS_RESTARTS}
    standard = _standard(norm, epsilon)
    return {
        "apgd-ce": APGD(loss="ce", **many),
        "apgd-dlr": APGD(loss="dlr", **many),
        "fab": FAB(targeted=False, **many),
        "square": standard["square"],
        "apgd-t": standard["apgd-t"],
        "fab-t": standard["fab-t"],
    }


def _rand(norm, epsilon):
    common = {"norm": norm, "epsilon": epsilon, "eot_samples": _RAND_SAMPLES}
    return {"apgd-ce": APGD(loss="ce", **common), "apgd-dlr": APGD(loss="dlr", **common)}


def _paper(norm, epsilon):
    common = {"norm": norm, "epsilon": epsilon}
    return {
        "apgd-ce": APGD(loss="ce", **common),
        "apgd-dlr": APGD(loss="dlr", **common),
        "fab": FAB(targeted=False, **common),
        "square": Square(queries=5000, **common),
    }


def _estimate(norm, epsilon):
    standard = _standard(norm, epsilon)
    first, nearest, glance, others = SCREEN
    targeted = standard["apgd-t"]
    rest = dataclasses.replace(targeted, skip=SCREEN_TARGETS)
    return {
        first: standard[first],
        nearest: dataclasses.replace(targeted, targets=SCREEN_TARGETS),
        glance: dataclasses.replace(rest, stop_after=min(GLANCE, rest.steps)),
        others: rest,
        **{name: standard[name] for name in REST},
    }


def _quick(norm, epsilon):
    standard = _standard(norm, epsilon)
    return {name: standard[name] for name in ("apgd-ce", "apgd-t")}


_VERSIONS = {
    "standard": _standard,
    "plus": _plus,
    "rand": _rand,
    "paper": _paper,
    "quick": _quick,
    "estimate": _estimate,
}


def ensemble(version, *, norm, epsilon):
    """Return the attacks of a version of AutoAttack, in the order in which they run.

    - `standard`: APGD-CE, APGD-T (9 targets), FAB-T (9 targets), Square (5000 queries).
    - `plus`: APGD-CE, APGD-DLR and FAB with 5 restarts, Square, APGD-T, FAB-T.
    - `rand`: APGD-CE and APGD-DLR on the mean of 20 draws, for randomised networks.
    - `paper`: APGD-CE, APGD-DLR, FAB, Square, the four of the paper's tables.
    - `quick`: APGD-CE, APGD-T; an upper bound of `standard`.
    - `estimate`: those of `standard`, APGD-T in two: on 3 targets and on the other 6, between them the
      first steps of the latter; `autoattack` runs most of them on a part of the examples only.

    Args:
        version: one of these names.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0.

    Returns:
        Dict from name to attack.

    Raises:
        ValueError: if a value is unknown.

    Reference: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of
        diverse parameter-free attacks", 2020.
    """
    if version not in _VERSIONS:
        known = [*_VERSIONS, "custom"]
        raise ValueError(f"Unknown version; known are {known}. Received: version={version!r}")
    norms.get(norm)
    return _VERSIONS[version](norm, epsilon)
