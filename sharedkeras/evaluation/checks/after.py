"""What the outcome of an evaluation says of the evaluation: attacks that contradict each other."""

import dataclasses
import math

import numpy as np

from sharedkeras.evaluation.report.finding import Finding

_SHARE = 0.002
"""Share of the examples above which a black-box attack must not beat the others; AutoAttack's."""
_GAP = 0.10  # PGD that is this much weaker than AutoAttack is no estimate of anything.
_CHANCE = 0.01  # Of a paired sign test; seven points against none have 0.008.
_FEW_STEPS = 10  # An attack of fewer steps is expected to be weak.
_SAME_BALL = 1e-9
_STRONG = ("fixed-step", "adaptive", "boundary", "nearest")
"""Roles of attacks that follow gradients and are meant to be strong; see `Attack.role`."""
_MEMBERS = ("adaptive", "boundary", "black-box")
"""Roles of the members of AutoAttack."""
_ROLES_OF_OLD = {
    "PGD": "fixed-step",
    "APGD": "adaptive",
    "FAB": "boundary",
    "CarliniWagner": "nearest",
    "Square": "black-box",
}
"""Roles by class, for reports that were written before attacks declared a role."""
CODES = ("square-stronger", "transfer-stronger", "pgd-gap", "more-steps-weaker", "unique-kills")
"""The codes that `after` gives."""


def after(report):
    """Check the outcome of an evaluation; a pure function of the report.

    - `square-stronger`, `transfer-stronger`: an attack without gradients of its own beats those with
      gradients by more than 0.2 percent points, a sign of gradients that mislead.
    - `pgd-gap`: PGD leaves over 10 percent points more than AutoAttack's members.
    - `more-steps-weaker`: PGD of more steps breaks fewer points, beyond chance.
    - `unique-kills`: how many points only one attack broke; a note.

    Args:
        report: `Report`, also one read from a file or merged of slices.

    Returns:
        Tuple of `Finding`s.
    """
    return (*_stronger(report), *_pgd_gap(report), *_more_steps(report), *_unique(report))


def refreshed(report):
    """Return the report with the findings of `after` made anew, as merging slices needs it."""
    kept = [finding for finding in report.findings if finding.code not in CODES]
    return dataclasses.replace(report, findings=(*kept, *after(report)))


def _settings(report):
    given = report.settings.get("attacks")
    given = given if isinstance(given, dict) else {}
    known = {name: given.get(name) or {} for name in report.accuracy}
    return {name: entry if isinstance(entry, dict) else {} for name, entry in known.items()}


def _role(name, entry):
    """Tell what an attack counts as, also in reports that say no more of it than a name or a class."""
    if name.startswith("transfer"):
        return "transfer"
    if "role" in entry:
        return entry["role"]
    if name.startswith("square") and "attack" not in entry:
        return "black-box"
    return _ROLES_OF_OLD.get(entry.get("attack"), "other")


def _same_ball(a, b):
    radii = a.get("epsilon"), b.get("epsilon")
    if not all(isinstance(r, int | float) for r in radii) or a.get("norm") != b.get("norm"):
        return False
    return math.isclose(*radii, rel_tol=_SAME_BALL)


def _white_box(report, entry):
    """Name the attacks with gradients that search the same ball and are meant to be strong."""
    return [
        name
        for name, other in _settings(report).items()
        if _role(name, other) in _STRONG
        and (other.get("steps") or 0) >= _FEW_STEPS
        and _same_ball(entry, other)
    ]


def _stronger(report):
    found = []
    names = list(report.accuracy)
    for name, entry in _settings(report).items():
        role = _role(name, entry)
        if role not in ("black-box", "transfer"):
            continue
        square = role == "black-box"
        white = _white_box(report, entry)
        if report.cascade:
            later = [w for w in white if names.index(w) > names.index(name)]
            white = [w for w in white if w not in later]
        if not white:
            continue
        if report.cascade:
            broken, lead = report.broken[name], report.broken[name]
        else:
            standing = np.logical_and.reduce([report.flags[w] for w in white])
            broken = int(np.sum(standing & ~report.flags[name]))
            least = min(int(np.sum(report.flags[w])) for w in white)
            # Different attacks break different points; Square's own few are no contradiction as long as
            # it is weaker in total. A transferred image is one that an attack with gradients could find.
            lead = least - int(np.sum(report.flags[name])) if square else broken
        if lead <= _SHARE * report.n:
            continue
        code = "square-stronger" if square else "transfer-stronger"
        how = "which sees no gradient," if square else "crafted on other networks,"
        severity = "warning"
        message = (
            f"{name}, {how} broke {broken} of {report.n} points ({100 * broken / report.n:.1f} %) that "
            f"{_listed(white)} did not"
        )
        if not report.cascade and square:
            message += f", and left {lead} points fewer than the strongest of them"
        if report.cascade and later:
            severity = "info"
            message += f"; {_listed(later)} came after it and did not get to try these."
        else:
            message += ". This network's gradients mislead attacks; an adaptive attack may find more."
        found.append(Finding(code, severity, message))
    return found


def _pgd_gap(report):
    found = []
    settings = _settings(report)
    for number, (name, entry) in enumerate(settings.items()):
        if _role(name, entry) != "fixed-step" or (entry.get("steps") or 0) < _FEW_STEPS:
            continue
        if report.cascade and number:
            break  # What stands after several attacks is no figure of this one.
        rest = [
            other
            for other, candidate in settings.items()
            if _role(other, candidate) in _MEMBERS and _same_ball(entry, candidate)
        ]
        if not rest:
            continue
        mine = report.flags[name]
        both = np.logical_and.reduce([mine, *(report.flags[other] for other in rest)])
        lost = int(np.sum(mine & ~both))
        if lost <= _GAP * report.n or _sign_test(lost, 0) > _CHANCE:
            continue
        found.append(
            Finding(
                "pgd-gap",
                "warning",
                f"{name} alone leaves {100 * mine.mean():.1f} % and {_listed(rest)} break a further "
                f"{100 * lost / report.n:.1f} percent points ({lost} of {report.n}): PGD says little of "
                "this network, and an attack made for it may say more than all of these.",
            )
        )
    return found


def _more_steps(report):
    if report.cascade:
        return []
    settings = {
        name: entry
        for name, entry in _settings(report).items()
        if _role(name, entry) == "fixed-step" and "steps" in entry
    }
    found = []
    for few, entry in settings.items():
        for many, other in settings.items():
            if entry["steps"] < other["steps"] and {**entry, "steps": 0} == {**other, "steps": 0}:
                found += _weaker(report, few, many, entry["steps"], other["steps"])
    return found


def _weaker(report, few, many, fewer, more):
    a, b = report.flags[few], report.flags[many]
    only_few, only_many = int(np.sum(~a & b)), int(np.sum(a & ~b))
    chance = _sign_test(only_few, only_many)
    if only_few <= only_many or chance > _CHANCE:
        return []
    return [
        Finding(
            "more-steps-weaker",
            "warning",
            f"{many} leaves {100 * b.mean():.1f} % with {more} steps, more than the "
            f"{100 * a.mean():.1f} % that {few} leaves with {fewer}: {only_few} points fell to fewer "
            f"steps only, {only_many} to more steps only (by chance with probability {chance:.2g}). "
            "More steps should break more; the gradients mislead, or the step is too large.",
        )
    ]


def _sign_test(wins, losses):
    """Return the probability of so many wins or more, were both equally likely."""
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n


def _unique(report):
    names = list(report.accuracy)
    if len(names) < 2:
        return []
    if report.cascade:
        counts, what = report.broken, "In this order the attacks newly broke, of"
    else:
        fallen = np.stack([report.flags["clean"] & ~report.flags[name] for name in names])
        alone = fallen & (fallen.sum(axis=0) == 1)
        counts = dict(zip(names, alone.sum(axis=1), strict=True))
        what = "Broken by one attack and no other, of"
    correct = int(np.sum(report.flags["clean"]))
    if not any(counts.values()):
        return []
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    message = f"{what} {correct} points correct without an attack: {listed}."
    return [Finding("unique-kills", "info", message)]


def _listed(names):
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
