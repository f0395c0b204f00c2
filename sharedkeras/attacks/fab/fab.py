"""The fast adaptive boundary attack."""

import dataclasses
import functools
import math
from typing import ClassVar

from keras import ops

from sharedkeras import backend, losses
from sharedkeras.arguments import need_count, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.fab.runs import Run, Walker
from sharedkeras.attacks.verdict import is_wrong, select
from sharedkeras.math import norms, projections, random
from sharedkeras.math.projections import clip_to_image
from sharedkeras.models.classifiers.gradients import input_gradient, mean_logits

_GUARD = 1e-12  # Against division by a zero gradient, as in the authors' code.
_SMALLEST_MOVE = 1e-8  # Likewise, against 0 / 0 in the weight of the clean image.


@dataclasses.dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """Walks along the decision boundary towards its point nearest to the clean image.

    It looks for the smallest adversarial perturbation whatever its size, so one run judges every
    epsilon at once, and it needs no step size. In every iteration the boundary to another class s is
    linearised at the iterate x', f = z_s - z_y, and both x' and the clean image x are projected on it:

        d1 = project(x'),  d2 = project(x),  a = min(|d1| / (|d1| + |d2|), alpha_max)
        x' <- clip((1 - a) (x' + eta d1) + a (x + eta d2))

    Once x' is misclassified it is recorded where it is the nearest such point so far, and the next
    iteration goes on from x + beta (x' - x). Untargeted, s is the class whose linearised boundary is the
    nearest, for which the gradients of all K classes are needed. Targeted (FAB-T), a run for each of the
    clean image's `targets` strongest other classes keeps s fixed, at one gradient an iteration, and any
    misclassification counts. The final search of the paper is left out, as it is in AutoAttack.

    `adversarial` is the nearest misclassified point found, be it outside the ball, or the clean image
    where there is none; `distance` its distance, infinite where there is none; `success` whether that is
    at most `epsilon`; `best_loss` its margin. An example that is misclassified from the outset is
    returned as it is: a success at distance 0. With `early_stop`, `distance` is no minimum. A `start`
    takes the clean image's place in the first run. `trace` holds "norm", `(steps, batch)`, the smallest
    distance that any run has found up to each of its iterations, and "run_norm", `(runs, batch)`, the
    smallest that each run found; infinite where nothing was found or the run not needed.

    Args:
        norm: "linf", "l2" or "l1".
        epsilon: float above 0; decides on success and on how far random starts reach, not on the search.
        steps: int, at least 1, iterations of a run.
        targeted: bool, whether to fix the other class, once for each of `targets`.
        targets: int, at least 1, classes tried if targeted; at most K - 1 are.
        restarts: int, at least 1, runs (for each target); the first begins at the clean image.
        alpha_max: float in (0, 1], the largest weight of the clean image's projection.
        eta: float, at least 1, overshoot beyond the linearised boundary.
        beta: float in (0, 1), how much of a perturbation is kept after a success.
        eot_samples: int, draws of a randomised network for each gradient and each verdict.

    Raises:
        ValueError: if a value is out of range.

    Reference: F. Croce, M. Hein, "Minimally distorted adversarial examples with a fast adaptive boundary
        attack", 2020.
    """

    norm: str = "linf"
    epsilon: float = 8 / 255
    steps: int = 100
    targeted: bool = False
    targets: int = 9
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    eot_samples: int = 1

    role: ClassVar[str] = "boundary"
    replaceable_loss: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    seeks_nearest: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        norms.get(self.norm)
        need_positive(epsilon=self.epsilon, alpha_max=self.alpha_max, eta=self.eta, beta=self.beta)
        need_count(
            steps=self.steps,
            targets=self.targets,
            restarts=self.restarts,
            eot_samples=self.eot_samples,
        )
        if not isinstance(self.targeted, bool):
            raise ValueError(f"`targeted` must be a bool. Received: targeted={self.targeted!r}")
        if self.alpha_max > 1 or self.eta < 1 or self.beta >= 1:
            raise ValueError(
                "`alpha_max` must be at most 1, `eta` at least 1 and `beta` below 1. Received: "
                f"alpha_max={self.alpha_max!r}, eta={self.eta!r}, beta={self.beta!r}"
            )

    @property
    def query_cost(self):
        """The forward passes of a query: of the two or more of an iteration one is no gradient."""
        return 1.5 if self.targeted else 2.0

    def most_queries(self, num_classes):
        """Return the passes of all runs of an example that withstands them."""
        others = num_classes - 1
        runs, rivals = (min(self.targets, others), 1) if self.targeted else (1, others)
        return runs * self.restarts * self.eot_samples * (self.steps * (rivals + 1) + 1)

    def craft(self, task):
        """Walk from each start, and for each target, to the nearest misclassified point."""
        classifier, x, epsilon = task.classifier, task.x, task.epsilon
        y = ops.cast(task.y, "int32")
        logits = classifier.apply(("fab-clean", *self._key), self._clean, x, classifier.state)
        wrong = is_wrong(y, logits)
        distance = ops.cast(ops.where(wrong, 0.0, math.inf), x.dtype)
        best = x, distance, ops.cast(losses.margin(y, logits), x.dtype)
        start = x if task.start is None else clip_to_image(task.start)
        draws = random.key(task.seed, self.kind)

        def begin(rank, restart):
            if restart == 0:
                return start
            key = random.key(draws, rank, restart)
            return classifier.apply(("fab-start", *self._key), self._start, x, key, task.index, epsilon)

        runs = [
            Run(functools.partial(begin, rank, restart), rivals)
            for rank, rivals in enumerate(self._rivals(logits), 1)
            for restart in range(self.restarts)
        ]
        walker = Walker(classifier, self._key, self._step, self._finish, self.steps, self.eot_samples)
        given, record = (x, y, runs, ops.logical_not(wrong), best), None
        if task.trace or backend.is_tracing(x):
            best, queries, history = walker.everywhere(*given, task.trace)
            if task.trace:
                record = {"norm": ops.min(history, axis=0), "run_norm": history[:, -1]}
        else:
            radii = epsilon if task.early_stop else None
            best, queries = walker.where_needed(*given, radii=radii, max_rows=task.max_rows)
        adv, distance, margin = best
        queries = queries + self.eot_samples  # The clean image's.
        return AttackResult(adv, distance <= epsilon, margin, distance, queries, record)

    @property
    def _key(self):
        """What the compiled functions depend on, so that attacks that differ in the rest share them."""
        return self.norm, self.alpha_max, self.eta, self.beta, self.eot_samples

    def _clean(self, view, x, state):
        return mean_logits(view, x, state, self.eot_samples)[0]

    def _rivals(self, logits):
        """Return for each run the classes whose boundaries it looks at, `(batch, classes)`.

        They are ranked by the clean image's logits; the first, the true class, is left out.
        """
        others = logits.shape[-1] - 1
        count = min(self.targets, others) if self.targeted else others
        ranked = ops.cast(ops.top_k(logits, count + 1)[1], "int32")
        if not self.targeted:
            return [ranked[:, 1:]]
        return [ranked[:, rank : rank + 1] for rank in range(1, count + 1)]

    def _start(self, view, x, key, index, epsilon):
        sphere = norms.get(self.norm).sphere(key, index, tuple(x.shape[1:]), x.dtype)
        # Half the smaller of epsilon and the distance found, which at this point is infinite.
        return clip_to_image(x + norms.per_example(0.5 * epsilon, x) * sphere)

    def _step(self, view, _, carry, constants):
        adv, best, smallest, state = carry
        x, y, rivals = constants
        norm, project = norms.get(self.norm), projections.get(self.norm)
        gap, normal, state = self._boundary(view, adv, y, rivals, state)
        # The hyperplane {p: gap + <normal, p - adv> = 0}, seen from the iterate and from x.
        along = ops.sum(normal * (x - adv), axis=tuple(range(1, len(x.shape))))
        from_adv = project(adv, normal, gap)
        from_x = project(x, normal, gap + along)
        near = ops.maximum(norm.size(from_adv), _SMALLEST_MOVE)
        far = ops.maximum(norm.size(from_x), _SMALLEST_MOVE)
        alpha = norms.per_example(ops.minimum(near / (near + far), self.alpha_max), x)
        moved = (1.0 - alpha) * (adv + self.eta * from_adv) + alpha * (x + self.eta * from_x)
        adv = clip_to_image(moved)
        logits, state = mean_logits(view, adv, state, self.eot_samples)
        wrong = is_wrong(y, logits)
        size = norm.size(adv - x)
        nearer = ops.logical_and(wrong, size < smallest)
        best = select(nearer, adv, best)
        smallest = ops.where(nearer, size, smallest)
        adv = select(wrong, x + self.beta * (adv - x), adv)  # Backward step.
        return adv, best, smallest, state

    def _boundary(self, view, adv, y, rivals, state):
        """Linearise the boundary to each rival class and return the nearest one's gap and normal.

        One class after another, so that memory does not grow with their number. Every class gets the
        same state, hence the same draws of a randomised network.
        """
        dual = norms.get(norms.get(self.norm).dual).size

        def linearise(k):
            pair = y, ops.take(rivals, k, axis=1)
            gap, _, normal, after = input_gradient(view, _gap, pair, adv, state, self.eot_samples)
            return ops.cast(gap, adv.dtype), normal, after

        def compare(k, carry):
            gap, normal, nearest, _ = carry
            new_gap, new_normal, after = linearise(k + 1)
            distance = ops.abs(new_gap) / (dual(new_normal) + _GUARD)
            nearer = distance < nearest
            gap, nearest = ops.where(nearer, new_gap, gap), ops.where(nearer, distance, nearest)
            return gap, select(nearer, new_normal, normal), nearest, after

        gap, normal, after = linearise(0)
        if rivals.shape[1] > 1:
            distance = ops.abs(gap) / (dual(normal) + _GUARD)
            carry = gap, normal, distance, after
            gap, normal, _, after = backend.repeat(rivals.shape[1] - 1, compare, carry)
        return gap, normal, after

    def _finish(self, view, carry, constants):
        _, best, smallest, state = carry
        x, y, _ = constants
        logits, _ = mean_logits(view, best, state, self.eot_samples)
        found = ops.logical_and(is_wrong(y, logits), ops.isfinite(smallest))
        distance = ops.where(found, smallest, ops.full_like(smallest, math.inf))
        return select(found, best, x), distance, ops.cast(losses.margin(y, logits), x.dtype)


def _gap(y, logits):
    """Compute by how much a class's logit exceeds the true one: `y` is the pair (true, other)."""
    classes = logits.shape[-1]
    sign = ops.one_hot(y[1], classes, dtype=logits.dtype) - ops.one_hot(
        y[0], classes, dtype=logits.dtype
    )
    return ops.sum(sign * logits, axis=-1)
