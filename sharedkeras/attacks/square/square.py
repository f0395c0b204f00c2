"""Square Attack: random search that sees nothing but the logits."""

import dataclasses
from typing import ClassVar

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_count, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult, prepare, radius
from sharedkeras.attacks.square import proposals, search
from sharedkeras.attacks.verdict import clip_to_image, success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.models import as_classifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Changes random squares of an image and keeps what brings it nearer to a mistake.

    It needs no gradient, so what hides gradients does not hide from it: where it finds more than an
    attack with gradients, that one has failed. Linf: the square's colour moves to one side of the ball.
    L2 and L1: part of the perturbation moves from one window into a bump in another.

    An image that is misclassified is left alone. Each image has windows and signs of its own, drawn
    from its number; the official code shares them in a batch. A window may lie at the last row and
    column, which the official code never reaches.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        queries: int, at least 1, iterations, each one forward pass; the start is one more.
        p_init: float in (0, 1], share of the image that the first windows cover.
        rescale_schedule: bool, whether that share falls as if there were 10000 iterations. AutoAttack
            does not.
        loss: "margin", "ce" or "dlr", which is to rise.
        restarts: int, at least 1.
        eot_samples: int, draws of a randomised network for each query.

    Raises:
        ValueError: if a value is out of range.

    Reference: M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square Attack: a query-efficient
        black-box adversarial attack via random search", 2020.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    queries: int = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False
    loss: str = "margin"
    restarts: int = 1
    eot_samples: int = 1

    black_box: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        proposals.get(self.norm)
        losses.get(self.loss)
        need_positive(epsilon=self.epsilon, p_init=self.p_init)
        need_count(queries=self.queries, restarts=self.restarts, eot_samples=self.eot_samples)
        if self.p_init > 1:
            raise ValueError(f"`p_init` must be at most 1. Received: p_init={self.p_init!r}")

    def run(
        self,
        classifier,
        x,
        y,
        *,
        seed,
        loss=None,
        epsilon=None,
        index=None,
        start=None,
        trace=False,
        early_stop=False,
    ):
        """Crafts adversarial images and tells how it went.

        Args:
            classifier: `FrozenClassifier`, or any callable from NumPy images to logits.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key.
            loss: `loss(y, logits) -> (batch,)` that replaces the attack's own.
            epsilon: `(batch,)` sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers, which decide their random draws.
            start: `(batch, H, W, C)` images that replace the random start, put into the ball.
            trace: bool, whether to record "loss", `(restarts * (queries + 1), batch)`: the largest so
                far in that restart, at its start and after each iteration. Not inside a graph.
            early_stop: bool, accepted for uniformity; a misclassified image is always left alone.

        Returns:
            `AttackResult`; `queries` counts what was spent until an image was misclassified. Where
            `loss` is given and `y` is no label, no image is left alone and `success` is False.
        """
        classifier, x, y, index = prepare(as_classifier(classifier), x, y, index)
        epsilon = ops.broadcast_to(radius(self, epsilon, x), ops.shape(x)[:1])
        norm = norms.get(self.norm)
        if start is not None:
            start = ops.convert_to_tensor(start, dtype=x.dtype)
            start = clip_to_image(x + norm.project(start - x, epsilon))
        plan = search.Plan(
            proposals=proposals.get(self.norm),
            score=losses.get(self.loss if loss is None else loss),
            queries=self.queries,
            p_init=self.p_init,
            rescale_schedule=self.rescale_schedule,
            eot_samples=self.eot_samples,
        )
        key = random.key(seed, type(self).__name__)
        best, record = None, [] if trace else None
        for restart in range(self.restarts):
            best = search.search(
                plan, classifier, (x, y, epsilon, index), start, random.key(key, restart), best, record
            )
        wrong = search.verdict(plan, classifier, best.adv, y)
        success, distance = success_and_distance(norm, x, best.adv, wrong, epsilon)
        record = {"loss": ops.stack(record)} if record else None
        return AttackResult(best.adv, success, best.value, distance, best.queries, record)
