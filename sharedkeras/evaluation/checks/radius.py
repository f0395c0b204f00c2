"""Whether a radius can be meant in units of the whole range of a pixel."""


def check_radius(norm, epsilon):
    """Refuse a radius in Linf that holds every image: it is one in grey levels, forgotten to divide.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float, or None for an attack without a radius.

    Raises:
        ValueError: if `epsilon` is above 1 in Linf.
    """
    if norm == "linf" and epsilon is not None and epsilon > 1:
        raise ValueError(
            "`epsilon` is in units of an image in [0, 1], where no pixel can move by more than 1: "
            f"divide by 255, as in epsilon={epsilon:g}/255. Received: epsilon={epsilon!r}"
        )


def check_radii(attacks):
    """Check the radius of every attack, a dict from name to attack, as `check_radius` does."""
    for attack in attacks.values():
        check_radius(attack.norm, attack.epsilon)
