"""TRADES: natural cross-entropy and the divergence of clean and adversarial predictions."""

import dataclasses
from collections.abc import Callable

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy, kl_categorical
from sharedkeras.objectives.objective import at_epoch, need_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class TRADES:
    """Cross-entropy of clean images plus the divergence of the predictions under attack.

    The first term is the natural error, the second bounds what an attack adds to it, and beta trades
    one for the other. The attack does not raise the cross-entropy but this divergence; it starts beside
    the clean image (0.001 times a standard normal), where the divergence is zero and has no gradient.

        L = CE(f(x), y) + beta KL(p(y|x) || p(y|x'))

    The gradient flows through both arguments of the divergence, as in the official code.

    Args:
        attack: the attack that crafts x' by maximising the divergence, or by a goal of its own where it
            takes no loss.
        beta: float at least 0 or a schedule of the epoch, weight of the divergence (the official
            code's beta, the paper's 1 / lambda): 6 on CIFAR-10, 1 on MNIST.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a value is out of range.

    Reference: H. Zhang et al., "Theoretically principled trade-off between robustness and accuracy",
        2019.
    """

    attack: object = dataclasses.field(default_factory=lambda: PGD(random_start="gaussian"))
    beta: float | Callable = 6.0
    label_smoothing: float = 0.0

    terms = ("ce_clean", "kl")
    taps = ()
    ramped = ()
    variables = ()
    layers = ()

    def __post_init__(self):
        """Check the weights, so that a wrong one is seen before any work."""
        need_weights(self, "beta")

    @property
    def queries(self):
        """The clean images' predictions, for an attack that takes a loss."""
        return int(self.attack.replaceable_loss)

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        aim = {"y": targets["label"], "loss": None}
        if self.attack.replaceable_loss:
            aim = {"y": classifier.predict(x), "loss": kl_categorical}
        adv = self.attack(classifier, x, seed=seed, index=targets.get("index"), **aim)
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_clean", "kl"}`, scalars."""
        clean, adv = outputs["clean"]["logits"], outputs["adv"]["logits"]
        ce_clean = ops.mean(cross_entropy(targets["label"], clean, self.label_smoothing))
        divergence = ops.mean(kl_categorical(clean, adv))
        total = ce_clean + at_epoch(self.beta, epoch) * divergence
        return {"loss": total, "ce_clean": ce_clean, "kl": divergence}
