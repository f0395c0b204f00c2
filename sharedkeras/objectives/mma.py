"""Max-margin adversarial training: attacks as large as each example's own margin."""

import dataclasses
import functools

import keras
import numpy as np
from keras import ops

from sharedkeras.arguments import need_between, need_count, need_positive
from sharedkeras.attacks import PGD
from sharedkeras.attacks.boundary import boundary
from sharedkeras.losses import cross_entropy, soft_margin
from sharedkeras.math import norms
from sharedkeras.objectives.objective import need_aimable, need_weights

_BEYOND = 1.05  # The search goes a little further than the largest margin, as in the official code.


@dataclasses.dataclass(frozen=True, kw_only=True)
class MMA:
    """Cross-entropy at each example's nearest boundary point, which pushes the boundary away.

    The gradient of the margin is that of the cross-entropy where the boundary is met. So each example is
    attacked in a ball of its own size, remembered from epoch to epoch; along the direction found, the
    boundary is bisected, and its distance is the next size. Examples whose margin is large enough are
    left alone (the hinge), misclassified ones learn from the clean image.

        L_MMA = mean( [right, d(x) < d_max] CE(f(x*), y) + [wrong] CE(f(x), y) )
        L = (1 - clean) L_MMA + clean CE(f(x), y)

    with x* the boundary point, d(x) its distance, and clean = 1/3.

    Args:
        attack: attack that takes a loss, and maximises the soft logit margin in balls given example by
            example, with steps relative to them; `attack.norm` measures margins.
        largest: float above 0, d_max in units of the attack's epsilon: 0.45 on MNIST at 0.3 and 12/255
            on CIFAR-10 at 8/255 are both 1.5.
        smallest: float above 0, smallest remembered size in the same units, with which all begin.
        clean: float in [0, 1], share of the cross-entropy of all clean images; 0 is the paper's OMMA.
        search_steps: int, halvings of the search for the boundary.
        examples: int, size of the memory: more than the largest number of a training example.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a value is out of range, or the attack takes no loss.

    Reference: G. Ding et al., "MMA training: direct input space margin maximization through adversarial
        training", 2020.
    """

    attack: object = dataclasses.field(default_factory=lambda: PGD(step_size=None))
    largest: float = 1.5
    smallest: float = 0.16
    clean: float = 1 / 3
    search_steps: int = 10
    examples: int = 60_000
    label_smoothing: float = 0.0

    terms = ("ce_boundary", "ce_wrong", "ce_clean", "margin")
    taps = ()
    ramped = ()
    layers = ()

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        need_weights(self)
        need_aimable(self)
        need_between(0, 1, clean=self.clean)
        need_count(search_steps=self.search_steps, examples=self.examples)
        need_positive(smallest=self.smallest)
        if not self.smallest < self.largest:
            raise ValueError(
                "`smallest` must be below `largest`. "
                f"Received: smallest={self.smallest}, largest={self.largest}"
            )

    @functools.cached_property
    def memory(self):
        """Keras variable `(examples,)`: the size of each example's ball, in units of an image."""
        first = np.full(self.examples, self.smallest * self.attack.epsilon, "float32")
        return keras.Variable(first, trainable=False, name="margins")

    @property
    def queries(self):
        """The halvings, and the pass that tells who is right."""
        return self.search_steps + 1

    @property
    def variables(self):
        """The memory, which belongs into checkpoints."""
        return (self.memory,)

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x*}`, and notes which examples are right and within the hinge."""
        label, index = targets["label"], targets["index"]
        norm, epsilon = norms.get(self.attack.norm), self.attack.epsilon
        right = ops.equal(ops.cast(ops.argmax(classifier.predict(x), axis=-1), "int32"), label)
        size = ops.take(self.memory, index)
        adv = self.attack(classifier, x, label, seed=seed, loss=soft_margin, epsilon=size, index=index)
        adv = boundary(
            classifier,
            x,
            label,
            adv - x,
            norm=norm,
            limit=_BEYOND * self.largest * epsilon,
            steps=self.search_steps,
        )
        distance = norm.size(adv - x)
        new = ops.where(right, ops.maximum(distance, self.smallest * epsilon), size)
        new = ops.cast(new, self.memory.dtype)
        table = ops.convert_to_tensor(self.memory)
        self.memory.assign(ops.scatter_update(table, ops.expand_dims(index, 1), new))
        inside = ops.logical_and(right, distance < self.largest * epsilon)
        return {"clean": x, "adv": adv}, {**targets, "right": right, "inside": inside, "size": new}

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_boundary", "ce_wrong", "ce_clean", "margin"}`, scalars.

        `margin` is the mean remembered size; it is logged and not minimised.
        """
        label = targets["label"]
        clean = cross_entropy(label, outputs["clean"]["logits"], self.label_smoothing)
        adv = cross_entropy(label, outputs["adv"]["logits"], self.label_smoothing)
        ce_boundary = ops.mean(ops.where(targets["inside"], adv, 0.0))
        ce_wrong = ops.mean(ops.where(targets["right"], 0.0, clean))
        ce_clean = ops.mean(clean)
        total = (1.0 - self.clean) * (ce_boundary + ce_wrong) + self.clean * ce_clean
        return {
            "loss": total,
            "ce_boundary": ce_boundary,
            "ce_wrong": ce_wrong,
            "ce_clean": ce_clean,
            "margin": ops.mean(targets["size"]),
        }
