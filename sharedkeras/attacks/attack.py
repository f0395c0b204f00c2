"""What every attack shares: its result, its checks, the input gradient."""

import dataclasses
import math
from typing import Any, NamedTuple

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.models import FrozenClassifier

TOLERANCE = 1e-6
"""How far outside the ball rounding may carry an image: float32 gives 0.03137258 for 8/255."""


class AttackResult(NamedTuple):
    """What an attack found, example by example.

    Attributes:
        adversarial: `(batch, H, W, C)` the crafted images.
        success: `(batch,)` bool, misclassified within the ball and within [0, 1].
        best_loss: `(batch,)` the largest loss seen.
        distance: `(batch,)` size of the smallest successful perturbation, infinite without one.
        queries: `(batch,)` int32, forward passes spent on each example.
        trace: dict of `(steps, batch)` arrays if asked for, else None.
    """

    adversarial: Any
    success: Any
    best_loss: Any
    distance: Any
    queries: Any
    trace: dict | None = None


class Attack:
    """Base of the attacks: `attack(...)` gives the images of `attack.run(...)`."""

    def __call__(self, classifier, x, y, *, seed, loss=None, epsilon=None, index=None, start=None):
        """Crafts adversarial images.

        Args:
            classifier: `FrozenClassifier`.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key.
            loss: `loss(y, logits) -> (batch,)` that replaces the attack's own.
            epsilon: `(batch,)` sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers, which decide their random draws.
            start: `(batch, H, W, C)` images that replace the random start.

        Returns:
            `(batch, H, W, C)` tensor in [0, 1], through which no gradient flows.
        """
        result = self.run(
            classifier, x, y, seed=seed, loss=loss, epsilon=epsilon, index=index, start=start
        )
        return ops.stop_gradient(result.adversarial)


def need_positive(**values):
    """Refuses hyperparameters that are not positive finite numbers.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise ValueError(f"`{name}` must be a finite number above 0. Received: {name}={value!r}")


def need_count(least=1, **values):
    """Refuses hyperparameters that are not whole numbers of at least `least`.

    Raises:
        ValueError: naming the first such value.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")


def need_one_of(choices, **values):
    """Refuses hyperparameters that are none of the known ones.

    Raises:
        ValueError: listing the known ones.
    """
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")


def prepare(classifier, x, y, index):
    """Converts what an attack is given; a Keras model is wrapped.

    Returns:
        `(classifier, x, y, index)` as `FrozenClassifier` and tensors.
    """
    if isinstance(classifier, keras.Model):
        classifier = FrozenClassifier(classifier)
    x = ops.convert_to_tensor(x)
    if isinstance(y, list | tuple):
        y = ops.convert_to_tensor(y)
    y = keras.tree.map_structure(ops.convert_to_tensor, y)
    if index is None:
        index = ops.arange(ops.shape(x)[0], dtype="int32")
    return classifier, x, y, ops.cast(ops.convert_to_tensor(index), "int32")


def radius(attack, epsilon, x):
    """Returns the balls' sizes as a tensor: the attack's own unless others are given."""
    epsilon = attack.epsilon if epsilon is None else epsilon
    return ops.convert_to_tensor(epsilon, dtype=x.dtype)


def input_gradient(classifier, loss, y, x, state, samples=1):
    """Computes loss, logits and input gradient, averaged over draws of a randomised network.

    The gradient is that of the sum over the batch, so that it does not depend on the batch size. With
    more than one sample (expectation over transformations), loss and logits are averaged over the same
    draws as the gradient, so that an iterate is not chosen by one lucky draw.

    Args:
        classifier: `FrozenClassifier`.
        loss: `loss(y, logits) -> (batch,)`.
        y: what `loss` compares with.
        x: `(batch, H, W, C)` tensor.
        state: the classifier's state.
        samples: int, draws of the network.

    Returns:
        `(loss, logits, gradient, state)` of shapes `(batch,)`, `(batch, K)`, `(batch, H, W, C)`.

    Reference: A. Athalye et al., "Obfuscated gradients give a false sense of security", 2018.
    """

    def draw(state):
        def objective(x):
            logits, after = classifier(x, state)
            value = loss(y, logits)
            return ops.sum(value), (value, logits, after)

        (_, (value, logits, after)), gradient = backend.value_and_grad(objective, x)
        return value, logits, gradient, after

    value, logits, gradient, state = draw(state)
    if samples > 1:

        def accumulate(_, carry):
            *sums, state = carry
            *new, state = draw(state)
            return (*(s + n for s, n in zip(sums, new, strict=True)), state)

        value, logits, gradient, state = backend.repeat(
            samples - 1, accumulate, (value, logits, gradient, state)
        )
        value, logits, gradient = (t / samples for t in (value, logits, gradient))
    return value, logits, gradient, state


def mean_logits(classifier, x, state, samples=1):
    """Computes the logits, averaged over draws of a randomised network.

    Returns:
        `(logits, state)`.
    """
    logits, state = classifier(x, state)
    if samples > 1:

        def accumulate(_, carry):
            total, state = carry
            logits, state = classifier(x, state)
            return total + logits, state

        logits, state = backend.repeat(samples - 1, accumulate, (logits, state))
        logits = logits / samples
    return logits, state


def is_wrong(y, logits):
    """Tells which examples are misclassified; of equal logits the lowest class wins.

    A row with a logit that is not finite counts as correct: such a network is refused elsewhere, and an
    attack must not be credited with it.

    Args:
        y: `(batch,)` integer labels.
        logits: `(batch, K)` tensor.

    Returns:
        `(batch,)` bool tensor.
    """
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    wrong = ops.not_equal(predicted, ops.cast(y, "int32"))
    return ops.logical_and(wrong, ops.all(ops.isfinite(logits), axis=-1))


def success_and_distance(norm, x, adv, wrong, epsilon):
    """Judges crafted images: misclassified, inside the ball and inside [0, 1].

    Args:
        norm: `Norm`.
        x: `(batch, H, W, C)` clean images.
        adv: `(batch, H, W, C)` crafted images.
        wrong: `(batch,)` bool, whether `adv` is misclassified.
        epsilon: float or `(batch,)`.

    Returns:
        `(success, distance)`, both `(batch,)`; the distance is infinite without success.
    """
    size = norm.size(adv - x)
    low = ops.min(adv, axis=(1, 2, 3)) >= 0.0
    high = ops.max(adv, axis=(1, 2, 3)) <= 1.0
    inside = ops.logical_and(size <= epsilon + TOLERANCE, ops.logical_and(low, high))
    success = ops.logical_and(wrong, inside)
    return success, ops.where(success, size, ops.full_like(size, math.inf))


def select(mask, a, b):
    """Takes examples of `a` where the mask is true and of `b` elsewhere.

    Args:
        mask: `(batch,)` bool tensor.
        a: `(batch, ...)` tensor.
        b: `(batch, ...)` tensor of the same shape.
    """
    return ops.where(ops.reshape(mask, (-1, *([1] * (len(a.shape) - 1)))), a, b)


def clip_to_image(x):
    """Clips to [0, 1]."""
    return ops.clip(x, 0.0, 1.0)


def settings(attack):
    """Returns an attack's configuration as plain data, for reports."""
    return {"attack": type(attack).__name__, **dataclasses.asdict(attack)}
