"""Standard adversarial training."""

import dataclasses

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standard:
    """Cross-entropy of adversarial images, the first baseline.

        L = CE(f(x'), y)

    Args:
        attack: the attack that crafts x'.

    Reference: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.
    """

    attack: object = dataclasses.field(default_factory=PGD)

    terms = ("ce_adv",)
    taps = ()
    variables = ()
    layers = ()

    def views(self, classifier, x, targets, seed):
        """Crafts `{"adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets.get("index")
        return {"adv": self.attack(classifier, x, targets["label"], seed=seed, index=index)}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_adv"}`, scalars."""
        value = ops.mean(cross_entropy(targets["label"], outputs["adv"]["logits"]))
        return {"loss": value, "ce_adv": value}
