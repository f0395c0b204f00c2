"""Whether a radius can be meant in units of the whole range of a pixel."""


def check_radius(attacks):
    """Refuse a radius in Linf that holds every image: it is one in grey levels, forgotten to divide.

    Args:
        attacks: dict from name to attack.

    Raises:
        ValueError: if `epsilon` of an attack in Linf is above 1.
    """
    for name, attack in attacks.items():
        if attack.norm == "linf" and attack.epsilon is not None and attack.epsilon > 1:
            raise ValueError(
                "`epsilon` in Linf must be at most 1: images are in [0, 1]. Divide grey levels by 255: "
                f"epsilon={attack.epsilon:g} / 255. Received: epsilon={attack.epsilon!r} of the attack "
                f"{name!r}"
            )
