"""Checks of arguments, each refused with a message that says so.

NumPy's numbers count as numbers, as do arrays and tensors without axes: a budget computed in NumPy is as
good as one typed. What keeps a number stores `plain(number)`, so that settings can be written as JSON.
"""

import math

import keras
import numpy as np


def plain(value):
    """Return a number of NumPy's, or an array or tensor without axes, as Python's own number.

    Args:
        value: anything.

    Returns:
        The equal `bool`, `int`, `float` or `str`; whatever is no such number, as it is.
    """
    if keras.ops.is_tensor(value) and len(value.shape) == 0:
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        return value.item()
    return value


def is_number(value):
    """Tell whether a value is a finite real number (a bool is none)."""
    value = plain(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def need_positive(**values):
    """Refuse hyperparameters that are not positive finite numbers.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        if not is_number(value) or plain(value) <= 0:
            raise ValueError(f"`{name}` must be a finite number above 0. Received: {name}={value!r}")


def need_between(low, high, **values):
    """Refuse hyperparameters that are not numbers from `low` to `high`, both included.

    Args:
        low: float.
        high: float, or None for any finite number of at least `low`.
        **values: the hyperparameters by name.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        if not is_number(value) or plain(value) < low or (high is not None and plain(value) > high):
            wanted = f"in [{low}, {high}]" if high is not None else f"of at least {low}"
            raise ValueError(f"`{name}` must be a finite number {wanted}. Received: {name}={value!r}")


def need_radius(norm, epsilon):
    """Refuse a radius in Linf that holds every image: it is one in grey levels, forgotten to divide.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float, or None for any distance.

    Raises:
        ValueError: if `epsilon` is above 1 in Linf.
    """
    if norm == "linf" and is_number(epsilon) and plain(epsilon) > 1:
        raise ValueError(
            "`epsilon` is in units of an image in [0, 1], where no pixel can move by more than 1: "
            f"divide by 255, as in epsilon={plain(epsilon):g}/255. Received: epsilon={epsilon!r}"
        )


def need_count(least=1, **values):
    """Refuse hyperparameters that are not whole numbers of at least `least`.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        number = plain(value)
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")


def need_seed(**values):
    """Refuse seeds that are not whole numbers in [0, 2**64).

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        number = plain(value)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**64:
            raise ValueError(f"`{name}` must be an int in [0, 2**64). Received: {name}={value!r}")


def need_one_of(choices, **values):
    """Refuse hyperparameters that are none of the known ones.

    Raises:
        ValueError: listing the known ones.
    """
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
