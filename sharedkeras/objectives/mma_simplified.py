"""MMA in the simplified form of comparison tables."""

import dataclasses

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy
from sharedkeras.objectives.objective import need_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class MMASimplified:
    """Cross-entropy under attack where the clean image is right, of the clean image where it is wrong.

    It is how comparisons write max-margin training: an example that is misclassified has no margin that
    could grow. The size of the attack is fixed, which is what the original, `MMA`, does away with.

        L = CE(f(x'), y) where argmax f(x) = y, else CE(f(x), y)

    Args:
        attack: the attack that crafts x'.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a value is out of range.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        Table 1; G. Ding et al., "MMA training: direct input space margin maximization through
        adversarial training", 2020.
    """

    attack: object = dataclasses.field(default_factory=PGD)
    label_smoothing: float = 0.0

    terms = ("ce_adv", "ce_clean")
    taps = ()
    ramped = ()
    variables = ()
    layers = ()

    def __post_init__(self):
        """Check the smoothing, so that a wrong one is seen before any work."""
        need_weights(self)

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets.get("index")
        adv = self.attack(classifier, x, targets["label"], seed=seed, index=index)
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_adv", "ce_clean"}`, scalars; the terms are the loss's two parts."""
        label = targets["label"]
        clean, adv = outputs["clean"]["logits"], outputs["adv"]["logits"]
        right = ops.equal(ops.cast(ops.argmax(clean, axis=-1), "int32"), ops.cast(label, "int32"))
        right = ops.cast(right, adv.dtype)
        ce_adv = ops.mean(right * cross_entropy(label, adv, self.label_smoothing))
        ce_clean = ops.mean((1.0 - right) * cross_entropy(label, clean, self.label_smoothing))
        return {"loss": ce_adv + ce_clean, "ce_adv": ce_adv, "ce_clean": ce_clean}
