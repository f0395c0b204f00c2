"""The paper's objective: learn what the clean and the adversarial image share."""

import dataclasses
from collections.abc import Callable

from keras import ops

from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy, hsic, symmetrised_kl_gaussian
from sharedkeras.objectives.objective import at_epoch, need_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedInformation:
    """Cross-entropies, symmetrised KL of the two latents, and their dependence.

    The divergence removes what only one view knows; the dependence (HSIC in place of the mutual
    information) keeps what both know, and so stops the collapse that the divergence alone allows.

        L = alpha CE(f(x'), y) + (1 - alpha) CE(f(x), y)
            + beta SKL(p(z|x), p(z'|x')) - lambda HSIC(z, z')                     (equation 16)

    The divergence is summed over the latent dimensions and averaged over the batch. z and z' are
    independent samples.

    Args:
        attack: the attack that crafts x'.
        alpha: float in [0, 1], the share of the adversarial cross-entropy.
        beta: float at least 0 or a schedule of the epoch, weight of the divergence.
        lam: float at least 0 or a schedule of the epoch, weight of the dependence (lambda).
        neighbours: int, nearest neighbours that set HSIC's kernel width.
        layer: str, name of the `GaussianStochastic` layer.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a weight is out of range.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022.
    """

    attack: object = dataclasses.field(default_factory=PGD)
    alpha: float = 0.5
    beta: float | Callable = 4.0
    lam: float | Callable = 1e-3
    neighbours: int = 10
    layer: str = "latent"
    label_smoothing: float = 0.0

    terms = ("ce_adv", "ce_clean", "skl", "hsic")
    ramped = ("beta",)
    variables = ()
    layers = ()

    def __post_init__(self):
        """Check the weights, so that a wrong one is seen before any work."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={self.alpha}")
        need_weights(self, "beta", "lam")
        if self.neighbours < 1:
            raise ValueError(f"`neighbours` must be at least 1. Received: neighbours={self.neighbours}")

    @property
    def taps(self):
        """The layer whose `(z, mean, scale)` the loss reads."""
        return (self.layer,)

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`."""
        index = targets.get("index")
        adv = self.attack(classifier, x, targets["label"], seed=seed, index=index)
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_adv", "ce_clean", "skl", "hsic"}`, scalars."""
        label = targets["label"]
        clean, adv = outputs["clean"], outputs["adv"]
        ce_adv = ops.mean(cross_entropy(label, adv["logits"], self.label_smoothing))
        ce_clean = ops.mean(cross_entropy(label, clean["logits"], self.label_smoothing))
        z, mean, scale = clean[self.layer]
        z_adv, mean_adv, scale_adv = adv[self.layer]
        skl = ops.mean(symmetrised_kl_gaussian(mean, scale, mean_adv, scale_adv))
        dependence = hsic(z, z_adv, neighbours=self.neighbours)
        total = self.alpha * ce_adv + (1.0 - self.alpha) * ce_clean  # equation 16
        total = total + at_epoch(self.beta, epoch) * skl - at_epoch(self.lam, epoch) * dependence
        return {
            "loss": total,
            "ce_adv": ce_adv,
            "ce_clean": ce_clean,
            "skl": skl,
            "hsic": dependence,
        }
