"""Counts of the images on which a loss has no usable gradient."""

import numpy as np
from keras import ops

from sharedkeras import losses
from sharedkeras.models.classifiers.gradients import input_gradient

EXAMPLES = 64
"""The most images on which a check is made: their shares are then known to some 6 percent points."""


_LOSSES = ("ce", "margin", "dlr")


_ROUNDING = 2.0**-24
"""The share of the margin's gradient below which another loss has none. Where the true class is ahead
by 17, 1 - p rounds to zero in float32; what a framework then returns is next to zero (TensorFlow) or the
rounding of a logarithm, of either sign (XLA)."""


_FLAT = 1e-10
"""A margin whose gradient is no larger than this share of the logits' spread does not move, whatever the
step: changing 100 000 pixels from black to white promises a hundred-thousandth of the spread."""


def count(classifier, x, y, names=_LOSSES, size=None):
    """Count the images on which a loss has no usable gradient.

    Args:
        classifier: `FrozenClassifier`.
        x: `(n, H, W, C)` images in [0, 1]; the first `size` are looked at.
        y: `(n,)` labels.
        names: of the losses; "dlr" stands for "margin" where there are fewer than three classes.
        size: int, to which the batch is filled up, so that few graphs are compiled; n if None.

    Returns:
        Dict from loss to `(n, zero, broken)`: images looked at that are classified correctly (others
        are not attacked, and DLR is flat there by construction), those of them whose gradient is zero or
        too small to follow, those whose gradient is NaN or infinite.
    """
    n = min(len(x), size or len(x))
    if n == 0:
        return {name: (0, 0, 0) for name in names}
    rows = np.resize(np.arange(n), size or n)
    x, y = ops.convert_to_tensor(x[rows]), ops.convert_to_tensor(y[rows])

    def gradients_of(name):
        # The loss is an argument of one graph, for compiling it is what costs.
        kind = ops.convert_to_tensor(_LOSSES.index(name), dtype="int32")
        found = classifier.apply("check gradients", _sizes, x, y, kind, classifier.state)
        return [ops.convert_to_numpy(t)[:n] for t in found]

    margin, _, spread, _ = gradients_of("margin")
    floors = {"ce": _ROUNDING * margin, "margin": _FLAT * spread}
    # DLR divides the margin by a part of the spread.
    floors["dlr"] = floors["ce"] / np.maximum(spread, np.finfo("float32").tiny)
    found = {}
    for name in names:
        sizes, finite, _, right = gradients_of(name)
        zero = finite & ~(sizes > floors[name])
        found[name] = tuple(int(np.sum(right & mask)) for mask in (right, zero, ~finite))
    return found


def _sizes(view, x, y, kind, state):
    _, logits, gradient, _ = input_gradient(view, _chosen, (y, kind), x, state)
    axes = tuple(range(1, len(x.shape)))
    spread = ops.max(logits, axis=-1) - ops.min(logits, axis=-1)
    right = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), ops.cast(y, "int32"))
    finite = ops.all(ops.isfinite(gradient), axis=axes)
    return ops.max(ops.abs(gradient), axis=axes), finite, spread, right


def _chosen(given, logits):
    y, kind = given
    value = losses.cross_entropy(y, logits)
    others = [losses.margin, losses.dlr if logits.shape[-1] > 2 else losses.margin]
    for number, other in enumerate(others, start=1):
        value = ops.where(kind == number, other(y, logits), value)
    return value


def count_end(classifier, attack, x, y, batch_size):
    """Count as `count` does where an attack ended, for the loss that it followed.

    Args:
        classifier: `FrozenClassifier`.
        attack: the attack.
        x: `(n, H, W, C)` images that the attack left and that are still classified correctly.
        y: `(n,)` labels.
        batch_size: int, the most images at once.

    Returns:
        `(n, zero, broken)`, or None for an attack that does not end at its last point: those without
        gradients, and those that return the clean image where they fail.
    """
    if not attack.ends_at_iterate:
        return None
    name = attack.gradient_loss
    size = min(EXAMPLES, batch_size)
    return count(classifier, x, y, [name], size)[name]


class Watch:
    """Counts as `count` does at every checkpoint of an attack that has them, while it runs.

    Only its first run is looked at, and few images, so that the look costs next to nothing. Attributes:
    `counts`, dict from iterations made to `(n, zero, broken)`.

    Args:
        classifier: `FrozenClassifier`.
        attack: an attack that follows gradients.
        batch_size: int, the most images at once.
    """

    def __init__(self, classifier, attack, batch_size):
        self.counts = {}
        self._classifier = classifier
        self._loss = attack.gradient_loss
        self._size = min(EXAMPLES, batch_size)

    def __call__(self, iterations, iterates, y, going):
        """Count at one checkpoint; see `Attack.run`."""
        if iterations in self.counts or not going.any():
            return
        rows = np.flatnonzero(going)[: self._size]
        x, y = (ops.convert_to_numpy(t)[rows] for t in (iterates, y))
        self.counts[iterations] = count(self._classifier, x, y, [self._loss], self._size)[self._loss]
