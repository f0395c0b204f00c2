"""How large Square Attack's windows are at each iteration, and the patterns of L2 and L1."""

import functools
import math

import numpy as np

_LEVELS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_FALL = {"l2": 2, "l1": 4}
_LEVELS_OF = 10000  # The iterations for which the authors tuned these levels.


@functools.cache
def levels(queries, p_init=0.8, rescale=False):
    """List the shares of an image that a window covers.

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
    """Return the side of a square that covers this share of an image."""
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def bump_side(share, height, width):
    """Return the side of an L2 or L1 window: odd and at least 3, unless the image is smaller."""
    side = max(round(math.sqrt(share * height * width)), 3)
    return min(side + (side + 1) % 2, height, width)


def bump(rows, columns, norm="l2"):
    """Make a rectangle whose values fall off from its centre, of unit size.

    For every k, 1/(k+1)^2 (in L1 1/(k+1)^4) is added on the square of side 2k+1 around the centre.

    Args:
        rows: int.
        columns: int.
        norm: "l2" or "l1", in which the size is 1.

    Returns:
        `(rows, columns)` float64 array.
    """
    centre_row, centre_column = rows // 2, columns // 2
    down = np.abs(np.arange(rows) - centre_row)[:, None]
    across = np.abs(np.arange(columns) - centre_column)[None]
    ring = np.maximum(down, across)
    pattern = np.zeros((rows, columns))
    for k in range(max(centre_row, centre_column) + 1):
        pattern += (ring <= k) / (k + 1) ** _FALL[norm]
    return _unit(pattern, norm)


@functools.cache
def eta(side, norm="l2"):
    """Make the pattern of L2 and L1: a bump up above a bump down, of unit size.

    Args:
        side: int, at least 1.
        norm: "l2" or "l1", in which the size is 1.

    Returns:
        `(side, side)` float64 array, not to be written to.

    Reference: M. Andriushchenko et al., "Square Attack", 2020, section 4.3.
    """
    upper = side // 2
    pattern = np.concatenate([bump(upper, side, norm), -bump(side - upper, side, norm)])
    pattern = _unit(pattern, norm)
    pattern.setflags(write=False)
    return pattern


def _unit(pattern, norm):
    size = np.sum(np.abs(pattern)) if norm == "l1" else np.sqrt(np.sum(pattern**2))
    return pattern / max(size, 1e-12)
