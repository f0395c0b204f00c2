"""Turns the flags of an evaluation into the evidence that an estimate decides on."""

from sharedkeras.evaluation.estimating.plan import Evidence


def evidence_of(seed, index, flags, margins, passes):
    """Return `Evidence`.

    Args:
        seed: int.
        index: `(n,)` ints, the examples' numbers.
        flags: dict from "clean" and each attack run so far to `(n,)` bool, correct after it and all
            before it.
        margins, passes: dicts from each of these attacks to `(n,)` float, as `Evidence` has them.
    """
    broken, before = {}, flags["clean"]
    for name, after in flags.items():
        if name != "clean":
            broken[name], before = before & ~after, after
    return Evidence(seed, index, flags["clean"], broken, margins, passes)
