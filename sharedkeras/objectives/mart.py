"""MART: adversarial training that attends to misclassified examples."""

import dataclasses
from collections.abc import Callable

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import boosted_cross_entropy, kl_categorical, log_complement
from sharedkeras.objectives.objective import at_epoch, need_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class MART:
    """Boosted cross-entropy of adversarial images, and a divergence weighted by the clean error.

    Examples that are misclassified without an attack matter most for robustness: the less the clean
    image is believed to be of its class, the more its prediction under attack is drawn to the clean one.

        L = BCE(f(x'), y) + beta KL(p(x) || p(x')) (1 - p_y(x))
        BCE = -log p_y(x') - log(1 - max_{k != y} p_k(x'))

    The gradient flows through everything, the weight included. The official code adds three small
    constants to its probabilities; here all is computed in log space and needs none.

    Args:
        attack: the attack that crafts x' by maximising the cross-entropy; it starts beside the clean
            image, as that of TRADES.
        beta: float at least 0 or a schedule of the epoch, weight of the divergence (lambda in the
            original paper): 5 for ResNet-18, 6 for WRN-34-10.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally in the
            first term of BCE.

    Raises:
        ValueError: if a value is out of range.

    Reference: Y. Wang et al., "Improving adversarial robustness requires revisiting misclassified
        examples", 2020.
    """

    attack: object = dataclasses.field(default_factory=lambda: PGD(random_start="gaussian"))
    beta: float | Callable = 5.0
    label_smoothing: float = 0.0

    terms = ("bce", "kl")
    taps = ()
    ramped = ()
    variables = ()
    layers = ()

    def __post_init__(self):
        """Check the weights, so that a wrong one is seen before any work."""
        need_weights(self, "beta")

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets.get("index")
        adv = self.attack(classifier, x, targets["label"], seed=seed, index=index)
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "bce", "kl"}`, scalars; `kl` is weighted by the clean error."""
        label = targets["label"]
        clean, adv = outputs["clean"]["logits"], outputs["adv"]["logits"]
        bce = ops.mean(boosted_cross_entropy(label, adv, self.label_smoothing))
        divergence = ops.mean(kl_categorical(clean, adv) * ops.exp(log_complement(label, clean)))
        total = bce + at_epoch(self.beta, epoch) * divergence
        return {"loss": total, "bce": bce, "kl": divergence}
