"""What an evaluation has found so far, as an estimate asks for it."""

from sharedkeras.evaluation.estimating.plan import Found


def found_in(seed, index, flags, margins, passes):
    """Return `Found`.

    Args:
        seed: int.
        index: `(n,)` ints, the examples' numbers.
        flags: dict from "clean" and each attack run so far to `(n,)` bool, correct after it and all
            before it.
        margins, passes: dicts from each of these attacks to `(n,)` float, as `Found` has them.
    """
    broken, before = {}, flags["clean"]
    for name, after in flags.items():
        if name != "clean":
            broken[name], before = before & ~after, after
    return Found(seed, index, flags["clean"], broken, margins, passes)
