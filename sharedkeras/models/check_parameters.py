"""Networks from files that are no larger than their files."""

from sharedkeras.models.count_parameters import count_parameters

_SMALLEST_WEIGHT = 2  # Bytes of a float16.


def check_parameters(build, stored):
    """Refuse a network of more parameters than its file has weights, before it takes memory.

    Args:
        build: function without arguments that returns a `keras.Model`.
        stored: int, bytes of the weights in the file.

    Raises:
        ValueError: if it has more.
        Exception: whatever `build` raises.
    """
    count = count_parameters(build)
    if count * _SMALLEST_WEIGHT > stored:
        raise ValueError(f"expected weights of {count:,} parameters, and they take {stored:,} bytes.")
