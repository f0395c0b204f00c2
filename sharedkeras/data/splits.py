"""The three splits, of which the stored data has two."""

import operator

SPLITS = ("train", "validation", "test")


def check_split(split, validation_size):
    """Refuse an unknown split and an impossible validation size, before anything is read.

    Args:
        split: string.
        validation_size: int, how many examples the validation split takes.

    Raises:
        ValueError: if the split is not one of the three, the size is negative, or the validation
            split is asked for and has no examples.
        TypeError: if the size is not an integer.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split. Expected one of {list(SPLITS)}. Received: split={split!r}")
    if isinstance(validation_size, bool):
        raise TypeError(
            "`validation_size` must be a number of examples. "
            f"Received: validation_size={validation_size}"
        )
    try:
        size = operator.index(validation_size)
    except TypeError:
        raise TypeError(
            "`validation_size` must be an integer, a number of examples, not a fraction. "
            f"Received: validation_size={validation_size!r}"
        ) from None
    if size < 0:
        raise ValueError(
            f"`validation_size` must not be negative. Received: validation_size={validation_size}"
        )
    if split == "validation" and size == 0:
        raise ValueError(
            "The validation split is cut from the end of the training split: say how many examples "
            f"it takes. Expected: validation_size > 0. Received: validation_size={validation_size}"
        )


def span(split, train_size, validation_size):
    """Find where a split lies in the stored data.

    Args:
        split: "train", "validation" or "test".
        train_size: int, the number of stored training examples.
        validation_size: int, how many of them, from the end, are for validation.

    Returns:
        `(stored, start, stop)`: the stored split, "train" or "test", and the range of its examples;
        a stop of None means up to the end.

    Raises:
        ValueError: if validation would leave nothing to train on.
    """
    if split == "test":
        return "test", 0, None
    if validation_size >= train_size:
        raise ValueError(
            f"`validation_size` must be less than the {train_size} training examples. "
            f"Received: validation_size={validation_size}"
        )
    cut = train_size - validation_size
    return ("train", 0, cut) if split == "train" else ("train", cut, train_size)
