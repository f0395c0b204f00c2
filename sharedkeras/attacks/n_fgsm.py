"""One step from strong noise, for training only."""

import dataclasses

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_positive
from sharedkeras.attacks.attack import Attack, AttackResult, prepare, radius
from sharedkeras.attacks.verdict import clip_to_image, is_wrong_if_labelled, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.models.classifiers.gradients import input_gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class NFGSM(Attack):
    """One sign step from uniform noise larger than the ball, without a projection.

    Training on one step inside the ball works until the network learns to bend its loss between the
    steps (catastrophic overfitting). Stronger noise, which no projection takes back, prevents that, and
    the cost stays that of one input gradient.

        x' = clip(s + step epsilon sign(gradient at s)),  s = clip(x + U(-noise epsilon, noise epsilon))

    The images lie in the ball of size `(noise + step) epsilon`, not of `epsilon`: this crafts training
    images and judges no network. `success` and `distance` of its result refer to the larger ball.

    Args:
        epsilon: float above 0, the Linf ball that the network is to resist, in units of an image in
            [0, 1].
        noise: float above 0, size of the noise in units of epsilon.
        step: float above 0, size of the step in units of epsilon.

    Raises:
        ValueError: if a value is out of range.

    Reference: P. de Jorge et al., "Make some noise: reliable and efficient single-step adversarial
        training", 2022.
    """

    epsilon: float = 8 / 255
    noise: float = 2.0
    step: float = 1.0

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        need_positive(epsilon=self.epsilon, noise=self.noise, step=self.step)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example."""
        return 1

    def run(self, classifier, x, y, *, seed, loss=None, epsilon=None, index=None, start=None):
        """Craft adversarial images.

        Args:
            classifier: `FrozenClassifier`.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key.
            loss: `loss(y, logits) -> (batch,)` in place of the cross-entropy.
            epsilon: `(batch,)` sizes that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers, which decide their random draws.
            start: `(batch, H, W, C)` images that replace the noisy ones.

        Returns:
            `AttackResult`. Where `loss` is given and `y` is no label, `success` is False.
        """
        classifier, x, y, index = prepare(classifier, x, y, index)
        epsilon = radius(self, epsilon, x)
        score = losses.get("ce" if loss is None else loss)
        if start is None:
            key = random.key(seed, type(self).__name__)
            ball = norms.get("linf").ball(key, index, tuple(x.shape[1:]), x.dtype)
            start = x + norms.per_example(self.noise * epsilon, x) * ball

        def craft(view, x, y, start, epsilon, state):
            before, _, gradient, state = input_gradient(view, score, y, start, state)
            adv = start + norms.per_example(self.step * epsilon, x) * ops.sign(gradient)
            adv = clip_to_image(adv)
            logits, _ = view(adv, state)
            wrong = is_wrong_if_labelled(y, logits)
            reach = (self.noise + self.step) * epsilon
            found = success_and_distance(norms.get("linf"), x, adv, wrong, reach)
            return adv, ops.maximum(before, score(y, logits)), *found

        start = clip_to_image(ops.convert_to_tensor(start, dtype=x.dtype))
        adv, worst, success, distance = classifier.apply(
            (self, loss), craft, x, y, start, epsilon, classifier.state
        )
        queries = ops.full((ops.shape(x)[0],), 2, dtype="int32")
        return AttackResult(adv, success, worst, distance, queries)
