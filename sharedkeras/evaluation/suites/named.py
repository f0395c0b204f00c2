"""Attacks by the names that a command line uses."""

from sharedkeras.attacks import APGD, FAB, FGSM, PGD, Square
from sharedkeras.evaluation.suites.paper import default_epsilon, paper_attacks

_TRAVEL = 2.5
"""The way of all steps of PGD together, in radii: it can cross the ball and come back (Madry et al.)."""
_OWN_BALL = ("cw", "cw-search")
_MEMBERS = {
    "apgd-ce": lambda norm, epsilon: APGD(norm=norm, epsilon=epsilon, loss="ce"),
    "apgd-dlr": lambda norm, epsilon: APGD(norm=norm, epsilon=epsilon, loss="dlr"),
    "apgd-t": lambda norm, epsilon: APGD(norm=norm, epsilon=epsilon, loss="dlr-targeted", targets=9),
    "fab": lambda norm, epsilon: FAB(norm=norm, epsilon=epsilon, targeted=False),
    "fab-t": lambda norm, epsilon: FAB(norm=norm, epsilon=epsilon, targeted=True, targets=9),
}


def named_attacks(names, *, dataset, norm="linf", epsilon=None, queries=5000):
    """Return attacks by name, within one ball.

    - `fgsm`, `pgd<steps>`: in Linf those of `paper_attacks`; in other norms all steps of PGD together
      are 2.5 radii long.
    - `cw`, `cw-search`: those of `paper_attacks`, which look for the nearest success in L2 at whatever
      distance, and so take no part of `norm` and `epsilon`.
    - `apgd-ce`, `apgd-dlr`, `apgd-t`, `fab`, `fab-t`: as members of AutoAttack, one start each.
    - `square`: Square, which sees the logits only.

    Args:
        names: sequence of these names.
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100", for the paper's settings.
        norm: "linf", "l2" or "l1"; for `square` one of the first two.
        epsilon: float above 0; None takes the paper's bound, which is one in Linf.
        queries: int, at least 1, queries of `square` for each image.

    Returns:
        Dict from name to attack, in the order of `names`.

    Raises:
        ValueError: if a name is unknown, a value out of range, or `epsilon` missing in another norm.
    """
    attacks = {}
    for name in names:
        is_pgd = name.startswith("pgd") and name[3:].isdigit() and int(name[3:]) > 0
        if name in _OWN_BALL:
            attacks |= paper_attacks(dataset, [name])
            continue
        if not (is_pgd or name in ("fgsm", "square", *_MEMBERS)):
            known = ["fgsm", "pgd<steps>", *_OWN_BALL, *_MEMBERS, "square"]
            raise ValueError(f"Unknown attack; known are {known}. Received: attack={name!r}")
        radius = default_epsilon(dataset, norm) if epsilon is None else epsilon
        if name in _MEMBERS:
            attacks[name] = _MEMBERS[name](norm, radius)
        elif name == "square":
            attacks[name] = Square(norm=norm, epsilon=radius, queries=queries)
        elif norm == "linf":
            attacks |= paper_attacks(dataset, [name], epsilon=radius)
        elif is_pgd:
            steps = int(name[3:])
            step_size = _TRAVEL * radius / steps
            attacks[name] = PGD(norm=norm, epsilon=radius, step_size=step_size, steps=steps)
        else:
            attacks[name] = FGSM(norm=norm, epsilon=radius)
    return attacks
