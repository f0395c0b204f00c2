"""The paper's objective: learn what the clean and the adversarial image share."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import keras
from keras import ops

from sharedkeras.arguments import need_positive
from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy
from sharedkeras.math import random
from sharedkeras.objectives import estimators, locations
from sharedkeras.objectives.objective import at_epoch, need_weights, weighted

_ALL = "all"  # The one view of all images, one after the other.


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedInformation:
    """Cross-entropies, symmetrised KL of the two latents, and their dependence.

    The divergence removes what only one view knows; the dependence (HSIC in place of the mutual
    information) keeps what both know, and so stops the collapse that the divergence alone allows.

        L = alpha CE(f(x'), y) + (1 - alpha) CE(f(x), y)
            + beta SKL(p(z|x), p(z'|x')) - lambda HSIC(z, z')                     (equation 16)

    The divergence is summed over the latent dimensions and averaged over the batch. z and z' are
    independent samples. A weight of 0 takes its term out of the loss and of every gradient; the term is
    still logged.

    With more than two views (the paper's future work) CE(f(x'), y) is the mean over the adversarial
    views, and divergence and dependence are means over all pairs of views, the clean one among them.

    The network sees each view in a pass of its own, clean first, so that BatchNorm normalises each by
    its own statistics and moves its averages once for each. `concatenated` makes one pass of all views:
    BatchNorm then normalises them by common statistics and moves its averages once.

    Args:
        attack: the attack that crafts x'.
        alpha: float in [0, 1], the share of the adversarial cross-entropy.
        beta: float at least 0 or a schedule of the epoch, weight of the divergence.
        lam: float at least 0 or a schedule of the epoch, weight of the dependence (lambda).
        estimator: str, what stands for the mutual information: "hsic", "mine" (a network that is
            trained with the objective, at a rate that lambda does not scale, and decays as all weights
            do) or "mige" (a gradient without a value). It is logged under its name.
        location: str, what is compared: "z", the stochastic layer, or "softmax", the probabilities.
        strengths: tuple of floats above 0, one for each adversarial view: its ball in units of the
            attack's epsilon. Draws of the attack are independent.
        shared_noise: bool, whether the stochastic layer adds the same noise to all views of an image.
        concatenated: bool, whether all views are one batch; their noise is then independent.
        neighbours: int, nearest neighbours that set HSIC's kernel width.
        layer: str, name of the `GaussianStochastic` layer.
        label_smoothing: float in [0, 1), share of each label that goes to all classes equally.

    Raises:
        ValueError: if a weight is out of range, a name unknown, or noise shared within one batch.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022.
    """

    attack: object = dataclasses.field(default_factory=PGD)
    alpha: float = 0.5
    beta: float | Callable = 4.0
    lam: float | Callable = 1e-3
    estimator: str = "hsic"
    location: str = "z"
    strengths: tuple = (1.0,)
    shared_noise: bool = False
    concatenated: bool = False
    neighbours: int = 10
    layer: str = "latent"
    label_smoothing: float = 0.0

    ramped = ("beta",)
    variables = ()

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={self.alpha}")
        need_weights(self, "beta", "lam")
        if self.neighbours < 1:
            raise ValueError(f"`neighbours` must be at least 1. Received: neighbours={self.neighbours}")
        estimators.get(self.estimator)
        locations.get(self.location)
        if not isinstance(self.strengths, list | tuple) or not self.strengths:
            raise ValueError(
                "`strengths` must be a tuple of numbers, one for each adversarial view. "
                f"Received: strengths={self.strengths!r}"
            )
        for strength in self.strengths:
            need_positive(strengths=strength)
        if self.shared_noise and self.concatenated:
            raise ValueError(
                "Views share their noise in passes of their own; the rows of one batch have their own. "
                "Received: shared_noise=True, concatenated=True"
            )

    @functools.cached_property
    def _dependence(self):
        return estimators.get(self.estimator)(self)

    @functools.cached_property
    def _location(self):
        return locations.get(self.location)(self)

    @property
    def terms(self):
        """What is logged; the dependence by its estimator's name."""
        return ("ce_adv", "ce_clean", "skl", self.estimator)

    @property
    def _adversarial(self):
        """The names of the adversarial views."""
        return ("adv", *(f"adv{number}" for number in range(2, 1 + len(self.strengths))))

    @property
    def taps(self):
        """The layers that the loss reads: the stochastic one, unless probabilities are compared."""
        return self._location.taps

    @property
    def same_noise(self):
        """The layer whose noise all views share, if they do."""
        return (self.layer,) if self.shared_noise else ()

    @property
    def layers(self):
        """What the estimator trains."""
        return self._dependence.layers

    def build(self, shapes):
        """Create the estimator's weights, given the shapes of a view's outputs."""
        self._dependence.build(self._location.shape(shapes))

    def views(self, classifier, x, targets, seed):
        """Craft `{"clean": x, "adv": x'}` from `x` of shape `(batch, H, W, C)`.

        Further adversarial views are "adv2", "adv3", ...; concatenated, all of them are "all".
        """
        index, label = targets.get("index"), targets["label"]
        views = {"clean": x}
        for name, strength in zip(self._adversarial, self.strengths, strict=True):
            options = {} if strength == 1 else {"epsilon": strength * self.attack.epsilon}
            key = seed if name == "adv" else random.key(seed, name)
            views[name] = self.attack(classifier, x, label, seed=key, index=index, **options)
        if self.concatenated:
            views = {_ALL: ops.concatenate(list(views.values()), axis=0)}
        return views, targets

    def loss(self, targets, outputs, epoch=None):
        """Compute `{"loss", "ce_adv", "ce_clean", "skl", "<estimator>"}`, scalars."""
        label, location = targets["label"], self._location
        clean, *adversarial = views = self._separated(outputs, ops.shape(label)[0])

        def ce(view):
            return ops.mean(cross_entropy(label, view["logits"], self.label_smoothing))

        ce_adv, ce_clean = _mean(map(ce, adversarial)), ce(clean)
        pairs = list(itertools.combinations(views, 2))
        skl = _mean(ops.mean(location.divergence(one, two)) for one, two in pairs)
        lam = at_epoch(self.lam, epoch)
        measured = [self._dependence.measure(*map(location.representation, pair), lam) for pair in pairs]
        dependence, reward = map(_mean, zip(*measured, strict=True))
        total = weighted(self.alpha, ce_adv) + weighted(1.0 - self.alpha, ce_clean)  # equation 16
        total = total + weighted(at_epoch(self.beta, epoch), skl) - reward
        return {
            "loss": total,
            "ce_adv": ce_adv,
            "ce_clean": ce_clean,
            "skl": skl,
            self.estimator: dependence,
        }

    def _separated(self, outputs, count):
        """List the views' outputs, clean first."""
        if not self.concatenated:
            return [outputs[name] for name in ("clean", *self._adversarial)]

        def part(number):
            rows = slice(number * count, (number + 1) * count)
            return keras.tree.map_structure(lambda t: t[rows], outputs[_ALL])

        return [part(number) for number in range(1 + len(self.strengths))]


def _mean(values):
    values = list(values)
    return values[0] if len(values) == 1 else sum(values) / len(values)
