"""What every attack shares: its result, its checks, the input gradient."""

import dataclasses
from typing import Any, NamedTuple

import keras
from keras import ops

from sharedkeras.arguments import plain
from sharedkeras.models import FrozenClassifier


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
    """Base of the attacks: `attack(...)` gives the images of `attack.run(...)`.

    An attack is a frozen dataclass, whose own `__post_init__` calls this one first, then checks.
    """

    def __post_init__(self):
        """Store NumPy's numbers as Python's, which reports can write."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))

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


def prepare(classifier, x, y, index):
    """Convert what an attack is given; a Keras model is wrapped.

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
    """Return the balls' sizes as a tensor: the attack's own unless others are given."""
    epsilon = attack.epsilon if epsilon is None else epsilon
    return ops.convert_to_tensor(epsilon, dtype=x.dtype)


def settings(attack):
    """Return an attack's configuration as plain data, for reports."""
    return {"attack": type(attack).__name__, **dataclasses.asdict(attack)}
