"""Where a line from an image meets the decision boundary."""

from keras import ops

from sharedkeras.losses import margin
from sharedkeras.math import norms
from sharedkeras.math.projections import clip_to_image


def boundary(classifier, x, y, direction, *, norm, limit, steps=10):
    """Bisect from each image along a direction for the first misclassified point.

    Along the line the margin is taken to change its sign at most once. Where it does not within the
    limit, the point at the limit is returned.

    Args:
        classifier: `FrozenClassifier`.
        x: `(batch, H, W, C)` images in [0, 1], correctly classified.
        y: `(batch,)` integer labels.
        direction: `(batch, H, W, C)` tensor of any length; zero gives `x`.
        norm: `Norm` in which distances are measured.
        limit: float above 0, the largest distance.
        steps: int, halvings of the interval.

    Returns:
        `(batch, H, W, C)` tensor in [0, 1], on the misclassified side where there is one.
    """

    def begin(_, x, direction):
        size = ops.maximum(norm.size(direction), 1e-12)
        one = ops.ones_like(size)
        return direction / norms.per_example(size, x), 0.0 * one, limit * one

    def halve(view, _, carry, constants):
        low, high, state = carry
        x, y, unit = constants
        middle = 0.5 * (low + high)
        logits, state = view(clip_to_image(x + norms.per_example(middle, x) * unit), state)
        wrong = margin(y, logits) > 0
        return ops.where(wrong, low, middle), ops.where(wrong, middle, high), state

    name = ("boundary", norm.name, limit)
    unit, low, high = classifier.apply(name, begin, x, direction)
    carry = (low, high, classifier.state)
    _, high, _ = classifier.iterate(name, halve, carry, (x, y, unit), 0, steps)
    return clip_to_image(x + norms.per_example(high, x) * unit)
