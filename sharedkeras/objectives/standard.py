"""Standard adversarial training."""

import dataclasses

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy
from sharedkeras.objectives.objective import need_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standard:
    """Cross-entropy of adversarial images, the first baseline.

        L = CE(f(x'), y)

    Args:
        attack: the attack that crafts x'.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a value is out of range.

    Reference: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
    """

    attack: object = dataclasses.field(default_factory=PGD)
    label_smoothing: float = 0.0

    terms = ("ce_adv",)
    taps = ()
    ramped = ()
    variables = ()
    layers = ()

    def __post_init__(self):
        """Check the smoothing, so that a wrong one is seen before any work."""
        need_weights(self)

    def views(self, classifier, x, targets, seed):
        """Craft `{"adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets.get("index")
        return {"adv": self.attack(classifier, x, targets["label"], seed=seed, index=index)}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_adv"}`, scalars."""
        logits = outputs["adv"]["logits"]
        value = ops.mean(cross_entropy(targets["label"], logits, self.label_smoothing))
        return {"loss": value, "ce_adv": value}
