"""How large Square Attack's windows are at each iteration, and the patterns of its L2 variant."""

import functools
import math

import numpy as np

_LEVELS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_LEVELS_OF = 10000  # The iterations for which the authors tuned these levels.


@functools.cache
def levels(queries, p_init=0.8, rescale=False):
    """Lists the shares of an image that a window covers.

    The share starts at `p_init` and halves after iterations 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
    8000.

    Args:
        queries: int, iterations of the run.
        p_init: float in (0, 1], the first share.
        rescale: bool, whether iterations count as if there were 10000 of them.

    Returns:
        Tuple of pairs `(first iteration, share)`.

    Reference: M. Andriushchenko et al., "Square Attack", 2020, section 4.1.
    """
    found = []
    for i in range(queries):
        at = int(i / queries * _LEVELS_OF) if rescale else i
        share = p_init / 2 ** sum(at > level for level in _LEVELS)
        if not found or found[-1][1] != share:
            found.append((i, share))
    return tuple(found)


def linf_side(share, height, width):
    """Returns the side of a square that covers this share of an image."""
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def l2_side(share, height, width):
    """Returns the side of an L2 window: odd and at least 3, unless the image is smaller."""
    side = max(round(math.sqrt(share * height * width)), 3)
    return min(side + (side + 1) % 2, height, width)


def bump(rows, columns):
    """Makes a rectangle whose values fall off from its centre, of unit L2 size.

    For every k, 1/(k+1)^2 is added on the square of side 2k+1 around the centre.

    Returns:
        `(rows, columns)` float64 array.
    """
    centre_row, centre_column = rows // 2, columns // 2
    down = np.abs(np.arange(rows) - centre_row)[:, None]
    across = np.abs(np.arange(columns) - centre_column)[None]
    ring = np.maximum(down, across)
    pattern = np.zeros((rows, columns))
    for k in range(max(centre_row, centre_column) + 1):
        pattern += (ring <= k) / (k + 1) ** 2
    return _unit(pattern)


@functools.cache
def eta(side):
    """Makes the L2 variant's pattern: a bump up above a bump down, of unit L2 size.

    Args:
        side: int, at least 1.

    Returns:
        `(side, side)` float64 array, not to be written to.

    Reference: M. Andriushchenko et al., "Square Attack", 2020, section 4.3.
    """
    upper = side // 2
    pattern = _unit(np.concatenate([bump(upper, side), -bump(side - upper, side)]))
    pattern.setflags(write=False)
    return pattern


def _unit(pattern):
    return pattern / max(np.sqrt(np.sum(pattern**2)), 1e-12)
