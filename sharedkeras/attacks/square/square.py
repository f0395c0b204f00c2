"""Square Attack: random search that sees nothing but the logits."""

import dataclasses
from typing import ClassVar

from keras import ops

from sharedkeras import losses
from sharedkeras.arguments import need_count, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.square import proposals, search
from sharedkeras.attacks.verdict import success_and_distance
from sharedkeras.math import norms, random
from sharedkeras.math.projections import clip_to_ball_and_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Changes random squares of an image and keeps what brings it nearer to a mistake.

    It needs no gradient, so what hides gradients does not hide from it: where it finds more than an
    attack with gradients, that one has failed. Linf: the square's colour moves to one side of the ball.
    L2 and L1: part of the perturbation moves from one window into a bump in another.

    An image that is misclassified is left alone. Each image has windows and signs of its own, drawn
    from its number; the official code shares them in a batch. A window may lie at the last row and
    column, which the official code never reaches.

    `queries` of the result counts what was spent until an image was misclassified, whether with
    `early_stop` or without. Where `y` holds no labels, no image is left alone. `trace` holds "loss",
    `(restarts * (queries + 1), batch)`: the largest so far in that restart, at its start and after each
    iteration. The classifier may also be any callable from NumPy images to logits.

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

    role: ClassVar[str] = "black-box"
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

    def most_queries(self, num_classes):
        """Return the passes of an example that no restart breaks."""
        return self.restarts * self.eot_samples * (self.queries + 1)

    def craft(self, task):
        """Search from each start, and judge what is kept by fresh forward passes."""
        x, y, epsilon, start = task.x, task.y, task.epsilon, task.start
        norm = norms.get(self.norm)
        if start is not None:
            start = clip_to_ball_and_image(norm, x, start, epsilon)
        plan = search.Plan(
            proposals=proposals.get(self.norm),
            score=losses.get(self.loss if task.loss is None else task.loss),
            queries=self.queries,
            p_init=self.p_init,
            rescale_schedule=self.rescale_schedule,
            eot_samples=self.eot_samples,
        )
        inputs, key = (x, y, epsilon, task.index), random.key(task.seed, self.kind)
        best, record = None, [] if task.trace else None
        for restart in range(self.restarts):
            draws = random.key(key, restart)
            best = search.search(plan, task.classifier, inputs, start, draws, best, record)
        wrong = search.verdict(plan, task.classifier, best.adv, y)
        success, distance = success_and_distance(norm, x, best.adv, wrong, epsilon)
        record = {"loss": ops.stack(record)} if record else None
        return AttackResult(best.adv, success, best.best_loss, distance, best.queries, record)
