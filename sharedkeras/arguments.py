"""Checks of arguments, each refused with a message that says so."""

import math


def need_positive(**values):
    """Refuses hyperparameters that are not positive finite numbers.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise ValueError(f"`{name}` must be a finite number above 0. Received: {name}={value!r}")


def need_count(least=1, **values):
    """Refuses hyperparameters that are not whole numbers of at least `least`.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")


def need_one_of(choices, **values):
    """Refuses hyperparameters that are none of the known ones.

    Raises:
        ValueError: listing the known ones.
    """
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
