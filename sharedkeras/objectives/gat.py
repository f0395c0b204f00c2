"""Guided adversarial training: one attack step, guided by the squared distance of predictions."""

import dataclasses
import functools
from collections.abc import Callable

import keras
from keras import ops

from sharedkeras.attacks import FGSM
from sharedkeras.losses import cross_entropy
from sharedkeras.math import norms, random
from sharedkeras.objectives.objective import at_epoch, need_aimable, need_weights

_START = 0.5  # Size of the random signs from which the step begins, in units of epsilon.


def _squared_distance(p, q):
    return ops.sum(ops.square(p - q), axis=-1)


def _guided(y, logits):
    """Cross-entropy plus a weight times the squared distance from the clean prediction."""
    distance = _squared_distance(ops.softmax(logits, axis=-1), y["probabilities"])
    return cross_entropy(y["label"], logits) + y["weight"] * distance


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAT:
    """Cross-entropy of clean images plus the squared distance of the predictions under attack.

    One step of an attack is cheap and weak. The squared distance of the predictions gives it a
    direction beside that of the cross-entropy, in every other update, and is what training lowers; so
    the loss stays smooth enough for one step to be enough.

        L = CE(f(x), y) + weight ||p(x) - p(x')||^2
        x' = one step of epsilon on CE(f(s), y) + [every other update] weight ||p(s) - p(x)||^2
        s = x + epsilon / 2 times random signs

    Args:
        attack: the attack that takes the step, one that takes a loss.
        weight: float at least 0 or a schedule of the epoch, weight of the distance in training (the
            attack takes its final value); 10 on CIFAR-10.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a value is out of range, or the attack takes no loss.

    Reference: G. Sriramanan et al., "Guided adversarial attack for evaluating and enhancing adversarial
        defenses", 2020.
    """

    attack: object = dataclasses.field(default_factory=FGSM)
    weight: float | Callable = 10.0
    label_smoothing: float = 0.0

    terms = ("ce_clean", "distance")
    taps = ()
    ramped = ()
    layers = ()
    queries = 1  # The clean images, for the attack.

    def __post_init__(self):
        """Check the weights, so that a wrong one is seen before any work."""
        need_weights(self, "weight")
        need_aimable(self)

    @functools.cached_property
    def guiding(self):
        """Keras variable: 1 in the updates whose attack is guided, else 0."""
        return keras.Variable(0, dtype="int32", trainable=False, name="guiding")

    @property
    def variables(self):
        """What alternates from update to update, which belongs into checkpoints."""
        return (self.guiding,)

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets["index"]
        signs = random.sign(random.key(seed, "GAT"), index, tuple(x.shape[1:]), x.dtype)
        weight = at_epoch(self.weight, None) * ops.cast(self.guiding, x.dtype)
        y = {
            "label": targets["label"],
            "probabilities": ops.softmax(classifier.predict(x), axis=-1),
            "weight": weight,
        }
        start = x + norms.per_example(_START * self.attack.epsilon, x) * signs
        adv = self.attack(classifier, x, y, seed=seed, loss=_guided, index=index, start=start)
        self.guiding.assign(1 - self.guiding)
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_clean", "distance"}`, scalars."""
        clean, adv = outputs["clean"]["logits"], outputs["adv"]["logits"]
        ce_clean = ops.mean(cross_entropy(targets["label"], clean, self.label_smoothing))
        p, q = ops.softmax(clean, axis=-1), ops.softmax(adv, axis=-1)
        distance = ops.mean(_squared_distance(p, q))
        total = ce_clean + at_epoch(self.weight, epoch) * distance
        return {"loss": total, "ce_clean": ce_clean, "distance": distance}
