"""Whether a network was made for images in another range than [0, 1]."""

import math

import numpy as np

from sharedkeras.evaluation.report.finding import Finding

_CHANCE = 1e-3  # Of what counts as better, for each of the three scalings.
_GAIN = 0.2
"""Share of the images by which a scaling must be better: no honest network gains so much by one."""
_LEAST_DEVIATION = 0.15
"""Of pale images (fog, low contrast) a network may see more after standardising, whatever its range."""


def scaling(forward, x, y, logits):
    """Ask a network for the same images in the ranges that networks are usually trained on.

    Keras's own applications, and its tutorials, begin with a division by 255; others want [-1, 1], or
    each channel with mean 0 and deviation 1. Of images in [0, 1] such a network sees little, and still
    all attacks run.

    Args:
        forward: function from images to logits.
        x: `(n, H, W, C)` images in [0, 1].
        y: `(n,)` labels.
        logits: `(n, K)`, of these images.

    Returns:
        List of `Finding`s: an error where the network does no better than chance on the images as they
        are, a warning where it does.
    """
    n, right = len(y), _right(logits, y)
    if right > (1 - _GAIN) * n:
        return []
    most = int(np.unique(y, return_counts=True)[1].max())
    found = [(_answered(forward, there, y), name, layer) for there, name, layer in _scaled(x)]
    best, name, layer = max(found, key=lambda entry: entry[0])
    if best - right < _GAIN * n or _tail(best, n, max(most, right) / n) > _CHANCE:
        return []
    blind = _tail(right, n, most / n) > _CHANCE
    return [
        Finding(
            "input-scaling",
            "error" if blind else "warning",
            f"The network was probably trained on {name}: of {n} images in [0, 1] it has {right} right "
            f"(always naming their commonest class would give {most}), of the same images so scaled "
            f"{best}. Put the scaling in front of it and judge the whole: "
            f"keras.Sequential([keras.Input({tuple(x.shape[1:])}), {layer}, network]).",
        )
    ]


def _scaled(x):
    yield x * np.float32(255), "255 * x, images in [0, 255]", "keras.layers.Rescaling(255)"
    yield 2 * x - 1, "2 * x - 1, images in [-1, 1]", "keras.layers.Rescaling(2, offset=-1)"
    mean, deviation = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
    if deviation.min() >= _LEAST_DEVIATION:
        scale, offset = ([float(f"{v:.3g}") for v in t] for t in (1 / deviation, -mean / deviation))
        yield (
            ((x - mean) / deviation).astype(x.dtype),
            "standardised images, (x - mean) / deviation of each channel",
            f"keras.layers.Rescaling({scale}, offset={offset}) (these figures are of the images given; "
            "take those of its training set)",
        )


def _answered(forward, x, y):
    try:
        return _right(forward(x), y)
    except Exception:  # An endpoint may refuse what is no image in [0, 1].
        return 0


def _right(logits, y):
    return int(np.sum(np.argmax(np.nan_to_num(logits, nan=-np.inf), axis=1) == y))


def _tail(right, n, share):
    """Return the probability of so many right ones or more, each with probability `share`."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(right, n + 1))
