"""One split of a data set, in memory."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Images, labels and the labels' names.

    A named tuple, so that `x, y, _ = load(...)` and `load(...).x` both read well.

    Attributes:
        x: `(N, H, W, C)` float32 array in `[0, 1]`.
        y: `(N,)` int32 array in `0..K-1`.
        label_names: tuple of K strings, in the order of the labels.
    """

    x: np.ndarray
    y: np.ndarray
    label_names: tuple[str, ...]
