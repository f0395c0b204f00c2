"""One step from strong noise, for training only."""

import dataclasses
from typing import ClassVar

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.verdict import is_wrong, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.math.projections import clip_to_image
from sharedkeras.models.classifiers.gradients import input_gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class NFGSM(Attack):
    """One sign step from uniform noise larger than the ball, without a projection.

    Training on one step inside the ball works until the network learns to bend its loss between the
    steps (catastrophic overfitting). Stronger noise, which no projection takes back, prevents that, and
    the cost stays that of one input gradient.

        s = clip(x + U(-noise epsilon, noise epsilon))
        x' = clip(s + length epsilon sign(gradient at s))

    The images lie in the ball of size `(noise + length) epsilon`, not of `epsilon`: this crafts training
    images and judges no network. `success` and `distance` of its result refer to the larger ball.

    Args:
        epsilon: float above 0, the Linf ball that the network is to resist, in units of an image in
            [0, 1].
        noise: float above 0, size of the noise in units of epsilon.
        length: float above 0, size of the step in units of epsilon.

    Raises:
        ValueError: if a value is out of range.

    Reference: P. de Jorge et al., "Make some noise: reliable and efficient single-step adversarial
        training", 2022.
    """

    epsilon: float = 8 / 255
    noise: float = 2.0
    length: float = 1.0

    norm: ClassVar[str] = "linf"
    loss: ClassVar[str] = "ce"

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        need_positive(epsilon=self.epsilon, noise=self.noise, length=self.length)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example."""
        return 1

    def craft(self, task):
        """Draw the noise and make the step."""
        norm = norms.get(self.norm)
        score = losses.get(self.loss if task.loss is None else task.loss)
        key = random.key(task.seed, self.kind)

        def begin(_, x, key, index, epsilon):
            ball = norm.ball(key, index, tuple(x.shape[1:]), x.dtype)
            return x + norms.per_example(self.noise * epsilon, x) * ball

        def move(view, x, y, start, epsilon, state):
            before, _, gradient, state = input_gradient(view, score, y, start, state)
            adv = start + norms.per_example(self.length * epsilon, x) * norm.direction(gradient)
            adv = clip_to_image(adv)
            logits, _ = view(adv, state)
            reach = (self.noise + self.length) * epsilon
            found = success_and_distance(norm, x, adv, is_wrong(y, logits), reach)
            return adv, ops.maximum(before, score(y, logits)), *found

        x, epsilon, name = task.x, task.epsilon, (self, task.loss)
        start = task.start
        if start is None:
            start = task.classifier.apply(("start", *name), begin, x, key, task.index, epsilon)
        start = clip_to_image(start)
        adv, worst, success, distance = task.classifier.apply(
            name, move, x, task.y, start, epsilon, task.classifier.state
        )
        queries = ops.full((ops.shape(x)[0],), 2, dtype="int32")
        return AttackResult(adv, success, worst, distance, queries)
