"""Whether a network is a step function of its input."""

import numpy as np

from sharedkeras.evaluation.checks.probabilities import half_precision
from sharedkeras.evaluation.report.finding import Finding

_TINY = 1e-4
_LARGER = (0.002, 0.02, 0.1, 0.5)
_GREY = 255
_NOISE_SEED = 0x5EED
_LEAST_STEPPED = 0.5
"""Share of images above which the network counts as a step function. A pixel that lies at a threshold
by chance makes an image move, so that not all images need stand still."""


def quantised(forward, x):
    """Find a network that rounds its input.

    Args:
        forward: function from images to logits.
        x: `(n, H, W, C)` images in [0, 1].

    Returns:
        List of `Finding`s.
    """
    # A quarter of a grey level off the grid of 8-bit images lie neither the thresholds of rounding to
    # so many levels or a divisor of theirs, nor those of flooring.
    grey = np.rint(x * _GREY)
    x = ((grey + np.where(grey > _GREY / 2, -0.25, 0.25)) / _GREY).astype(x.dtype)
    here = forward(x)
    if half_precision(here):
        return []  # It has no more bits than that, and its gradients are not those of steps.
    asked = np.any(_telling(forward, x, here), axis=1)

    def still(size, draw):
        step = size * np.where(noise(x.shape, draw) < 0.5, -1, 1)
        there = forward(np.clip(x + step, 0, 1).astype(x.dtype))
        return np.all(there == here, axis=1)

    if not asked.any():
        return []
    stepped = asked & still(_TINY, 1)
    if stepped.sum() <= _LEAST_STEPPED * asked.sum():
        return []
    stepped &= still(_TINY, 2)
    count, total = int(stepped.sum()), int(asked.sum())
    if count <= _LEAST_STEPPED * total:
        return []
    for size in _LARGER:
        moved = int(np.sum(stepped & ~still(size, 3)))
        if moved > _LEAST_STEPPED * count:
            break
    else:
        return []
    return [
        Finding(
            "quantised-input",
            "warning",
            f"The network is a step function of its input: on {count} of {total} images its logits "
            f"stay the same to the last bit when every pixel moves by {_TINY:g}, and on {moved} of "
            f"these they differ when every pixel moves by {size:g}. It rounds its input, as a defence "
            "would that hides gradients; attack the network without the rounding, or with a stand-in "
            "for it that has gradients, and compare with Square.",
        )
    ]


def _telling(forward, x, here):
    """Return a `(n, K)` bool mask of the outputs that only their own image gives.

    Where a softmax or sigmoid has flattened its logits, rounding hides every change of them: the output
    is 0, 1 or the least number that the CPU's exponential gives, for one image as for another. The same
    holds for outputs that were rounded. Neither is a fault of the input.
    """
    others = forward(noise(x.shape, 4).astype(x.dtype))
    _, first, same = np.unique(x.reshape(len(x), -1), axis=0, return_index=True, return_inverse=True)
    values, counts = np.unique(np.concatenate([here[first], others]), return_counts=True)
    alone = counts[np.searchsorted(values, here[first])] == 1
    return alone[same]


def noise(shape, draw=0):
    """Draw images in [0, 1] that show nothing."""
    return np.random.default_rng((_NOISE_SEED, draw)).random(shape)
