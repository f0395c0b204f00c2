"""Attacks by the names that a command line uses."""

from sharedkeras.evaluation.suites import registry


def named_attacks(names, *, dataset, norm="linf", epsilon=None, queries=5000):
    """Return attacks by name, within one ball.

    - `fgsm`, `pgd<steps>`: in Linf those of `paper_attacks`; in other norms all steps of PGD together
      are 2.5 radii long.
    - `mi-fgsm`: PGD with momentum, ten steps of a tenth of the radius from the clean image.
    - `cw`, `cw-search`: those of `paper_attacks`, which look for the nearest success in L2 at whatever
      distance, and so take no part of `norm` and `epsilon`.
    - `apgd-ce`, `apgd-dlr`, `apgd-t`, `fab`, `fab-t`: as members of AutoAttack, one start each.
    - `square`: Square, which sees the logits only.

    `suites.registry.names()` lists them all.

    Args:
        names: sequence of these names.
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100", for the paper's settings; of any other,
            `epsilon` must be given, and all steps of PGD together are 2.5 radii long.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0; None takes the paper's bound, which is one in Linf.
        queries: int, at least 1, queries of `square` for each image.

    Returns:
        Dict from name to attack, in the order of `names`.

    Raises:
        ValueError: if a name is unknown, a value out of range, or `epsilon` missing in another norm.

    Example:
        >>> named_attacks(["pgd20"], dataset="cifar10")["pgd20"].step_size
        0.003
    """
    setting = registry.Setting(dataset=dataset, norm=norm, radius=epsilon, queries=queries)
    return {name: registry.make(name, setting) for name in names}
