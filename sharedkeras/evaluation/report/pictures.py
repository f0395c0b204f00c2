"""The pictures of a report: clean image, adversarial image and what lies between them."""

import base64
import io

import numpy as np
from PIL import Image

EXAMPLES = 12
_BROKEN_SHARE = 2 / 3  # of the examples; a surviving point has less to show
_LONGEST_SIDE = 96  # of a picture in pixels; 36 pictures of noise then stay below 1.4 MB
_NICE = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
# One channel has a sign to show: darker pixels blue, brighter ones orange, unchanged nearly white.
_UNCHANGED, _DARKER, _BRIGHTER = np.array([[0.95, 0.94, 0.92], [0.13, 0.35, 0.60], [0.80, 0.36, 0.10]])


def choose(clean, robust, labels=None, count=EXAMPLES):
    """Choose examples to show, the same for the same report.

    Two thirds are broken by an attack and the rest survive all of them, as far as there are enough of
    both. Classes take turns, so that no class fills the figure; within a class the first come first.

    Args:
        clean: bool `(n,)`, correct without an attack.
        robust: bool `(n,)`, correct under every attack.
        labels: true classes `(n,)`, or None.
        count: how many at most.

    Returns:
        Positions, int `(at most count,)`: broken ones first, then survivors.
    """
    broken, standing = (_take_turns(np.flatnonzero(flag), labels) for flag in (clean & ~robust, robust))
    wanted = min(round(count * _BROKEN_SHARE), len(broken))
    wanted = max(wanted, min(count - len(standing), len(broken)))
    return np.concatenate([np.sort(broken[:wanted]), np.sort(standing[: count - wanted])])


def amplification(perturbation):
    """Return the round factor that makes the largest change of a pixel nearly fill half the range."""
    largest = float(np.max(np.abs(perturbation), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return 1.0
    return float(max((f for f in _NICE if f * largest <= 0.5 + 1e-6), default=1))


def perturbation_picture(perturbation, factor):
    """Make a perturbation visible.

    Args:
        perturbation: `(height, width, channels)`, adversarial minus clean.
        factor: how much larger to show it; a change of 0.5 / factor is at the end of the scale.

    Returns:
        Image in [0, 1]. Of one channel: near white where nothing changed, orange where the pixel
        became brighter, blue where darker. Of three: grey where nothing changed.
    """
    scaled = np.clip(perturbation * factor, -0.5, 0.5)
    if scaled.shape[-1] != 1:
        return scaled + 0.5
    amount, end = 2 * np.abs(scaled), np.where(scaled < 0, _DARKER, _BRIGHTER)
    return (1 - amount) * _UNCHANGED + amount * end


def data_uri(image) -> str:
    """Encode an image as a PNG in a data URI.

    Args:
        image: `(height, width, channels)` in [0, 1]. Of other than 1 or 3 channels the mean is shown.

    Returns:
        `"data:image/png;base64,..."`.
    """
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True)
    pixels = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    shrink = _LONGEST_SIDE / max(picture.size)
    if shrink < 1:
        size = tuple(max(1, round(side * shrink)) for side in picture.size)
        picture = picture.resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _take_turns(positions, labels):
    if labels is None:
        return positions
    turn = np.zeros(len(positions), int)
    for label in np.unique(labels[positions]):
        mine = labels[positions] == label
        turn[mine] = np.arange(mine.sum())
    return positions[np.lexsort((labels[positions], turn))]
