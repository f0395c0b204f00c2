"""The loops of Square Attack: compiled, inside a graph, or around a classifier that only answers."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.attacks.batching.shrinking import Shrinking
from sharedkeras.attacks.batching.sizes import least_saved
from sharedkeras.attacks.square import schedule
from sharedkeras.attacks.square.proposals import Proposals
from sharedkeras.attacks.verdict import is_wrong, merge_runs, select
from sharedkeras.math import random
from sharedkeras.models.classifiers.gradients import mean_logits

_BLOCK = 64
"""Iterations whose draws are made at once: a cipher in every iteration costs more than it gives."""

_LEAST_SAVED = 10_000
"""Passes of one image that a smaller batch must save to be worth compiling, on small networks."""


class Found(NamedTuple):
    """What one iteration hands to the next; per example, but for the classifier's state."""

    adv: Any
    best_loss: Any  # the loss there
    success: Any  # whether it is misclassified
    queries: Any
    state: Any = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The pure functions that the loops are made of; equal plans have equal functions."""

    proposals: Proposals
    score: Callable
    queries: int
    p_init: float
    rescale_schedule: bool
    eot_samples: int

    def sides(self, x):
        """List the first iterations of the schedule's levels and their sides, as two int32 arrays."""
        levels = schedule.levels(self.queries, self.p_init, self.rescale_schedule)
        firsts = np.array([first for first, _ in levels], "int32")
        return firsts, np.array([self.proposals.side(p, *x.shape[1:3]) for _, p in levels], "int32")

    def level(self, x, i):
        """Return the number of the level that holds at each iteration."""
        firsts = ops.convert_to_tensor(self.sides(x)[0])
        return ops.sum(ops.cast(ops.expand_dims(i, -1) >= firsts, "int32"), axis=-1) - 1

    def draw(self, key, index, block, x):
        """Draw the corners and signs of a block of iterations, each `(batch, _BLOCK, ...)`."""
        key = random.key(key, block)
        i = block * _BLOCK + ops.arange(_BLOCK, dtype="int32")
        side = ops.take(ops.convert_to_tensor(self.sides(x)[1]), self.level(x, i))
        # A window may lie anywhere inside, also at the last row, which the official code never draws.
        limit = ops.stack(
            [extent - side + 1 for extent in x.shape[1:3]] * self.proposals.windows, axis=-1
        )
        corners = random.integers(random.key(key, "corners"), index, tuple(limit.shape), limit)
        signs = random.sign(random.key(key, "signs"), index, (_BLOCK, x.shape[3] + 1), x.dtype)
        return corners, signs

    def start(self, key, index, x, epsilon):
        """Draw the images at which the search starts."""
        return self.proposals.start(random.key(key, "start"), index, x, epsilon)

    def candidate(self, i, adv, x, epsilon, draws):
        """Make the images that iteration `i` asks about."""
        corners, signs = (ops.take(d, i % _BLOCK, axis=1) for d in draws)
        sides = tuple(int(s) for s in self.sides(x)[1])
        return self.proposals.change(adv, x, epsilon, corners, signs, self.level(x, i), sides)

    def accept(self, found, y, adv, logits, state):
        """Keep what raised the loss or is misclassified, for images that are not yet broken."""
        value = self.score(y, logits)
        finite = ops.all(ops.isfinite(logits), axis=-1)
        value = ops.where(finite, value, ops.full_like(value, -math.inf))
        wrong = is_wrong(y, logits)
        whole = ops.logical_not(found.success)
        better = ops.logical_and(whole, ops.logical_or(value > found.best_loss, wrong))
        return Found(
            adv=select(better, adv, found.adv),
            best_loss=ops.where(better, value, found.best_loss),
            success=ops.logical_or(found.success, ops.logical_and(whole, wrong)),
            queries=found.queries + self.eot_samples * ops.cast(whole, "int32"),
            state=state,
        )

    def first(self, view, found, y):
        """Judge the start."""
        logits, state = mean_logits(view, found.adv, found.state, self.eot_samples)
        return self.accept(found, y, found.adv, logits, state)

    def step(self, view, i, found, constants):
        """One iteration."""
        x, y, epsilon, draws = constants
        adv = self.candidate(i, found.adv, x, epsilon, draws)
        logits, state = mean_logits(view, adv, found.state, self.eot_samples)
        return self.accept(found, y, adv, logits, state)


def search(plan, classifier, inputs, start, key, earlier, record):
    """Run one restart.

    Args:
        plan: `Plan`.
        classifier: `Classifier`.
        inputs: `(x, y, epsilon, index)`, each of the whole batch.
        start: `(batch, H, W, C)` images, or None to draw them.
        key: `(2,)` uint32 tensor.
        earlier: `Found` of earlier restarts, or None.
        record: list to which the loss after each iteration is added, or None.

    Returns:
        `Found`, merged with the earlier one.
    """
    if backend.is_tracing((inputs, key)):
        found = _search_in_graph(plan, classifier, inputs, start, key)
    else:
        engine = _Compiled(plan, classifier) if classifier.white_box else _Asked(plan, classifier)
        found = _search(plan, engine, inputs, start, key, earlier, record)
    return found if earlier is None else merge_runs(earlier, found)


def verdict(plan, classifier, adv, y):
    """Tell which images are misclassified, by fresh forward passes."""
    if not classifier.white_box:
        return is_wrong(y, _ask(classifier, adv, plan.eot_samples, adv.dtype))

    def judge(view, adv, y, state):
        return is_wrong(y, mean_logits(view, adv, state, plan.eot_samples)[0])

    return classifier.apply(("verdict", plan), judge, adv, y, classifier.state)


def _unsearched(adv, state=()):
    row = ops.zeros_like(adv[:, 0, 0, 0])
    nothing = ops.zeros_like(row, dtype="int32")
    return Found(adv, ops.full_like(row, -math.inf), ops.zeros_like(row, dtype="bool"), nothing, state)


def _search_in_graph(plan, view, inputs, start, key):
    """One run as part of a graph that is being traced: every image stays in the batch."""
    x, y, epsilon, index = inputs
    start = plan.start(key, index, x, epsilon) if start is None else start
    found = plan.first(view, _unsearched(start, view.state), y)

    def block(number, found):
        draws = plan.draw(key, index, number, x)
        begin = number * _BLOCK
        return backend.repeat(
            ops.minimum(_BLOCK, plan.queries - begin),
            lambda t, found: plan.step(view, begin + t, found, (x, y, epsilon, draws)),
            found,
        )

    return backend.repeat(-(-plan.queries // _BLOCK), block, found)


def _search(plan, engine, inputs, start, key, earlier, record):
    """One run called from Python: images that are broken leave the batch."""
    x, _, epsilon, index = inputs
    if start is None:
        start = engine.call("start", plan.start, key, index, x, epsilon)
    found, state = _unsearched(start), engine.state
    if earlier is not None and record is None:
        found = found._replace(success=earlier.success)
    least = least_saved(engine.classifier, _LEAST_SAVED, 1)
    shrinking = Shrinking(np.arange(len(start)), least)
    at = drawn = -1
    while at < plan.queries:
        if record is None:
            tensors, to_go = (found[:-1], inputs), plan.queries - max(at, 0)
            cut = shrinking.shrink(found.success, found[:-1], tensors, to_go)
            if cut is None:
                break
            drawn = drawn if cut is tensors else -1
            found, inputs = Found(*cut[0]), cut[1]
        found, (x, y, epsilon, index) = found._replace(state=state), inputs
        if at < 0:
            found, at = engine.first(found, y), 0
        else:
            # Most images of a weak network break at once, so the first stretches are short.
            end = at + (max(8, min(at, _BLOCK)) if record is None else 1)
            block = at // _BLOCK
            if drawn != block:
                number = ops.convert_to_tensor(block, dtype="int32")
                draws, drawn = engine.call("draw", plan.draw, key, index, number, x), block
            end = min(end, (block + 1) * _BLOCK, plan.queries)
            found, at = engine.iterate(found, (x, y, epsilon, draws), at, end), end
        state = found.state
        if record is not None:
            record.append(found.best_loss)
    else:
        shrinking.finish(found[:-1])
    return Found(*map(ops.convert_to_tensor, shrinking.outcome))


class _Compiled:
    """Runs a plan against a network, in compiled loops."""

    def __init__(self, plan, classifier):
        self.plan, self.classifier, self.state = plan, classifier, classifier.state

    def call(self, name, fn, *args):
        return self.classifier.apply((name, self.plan), lambda _, *args: fn(*args), *args)

    def first(self, found, y):
        return self.classifier.apply(("first", self.plan), self.plan.first, found, y)

    def iterate(self, found, constants, begin, end):
        return self.classifier.iterate(self.plan, self.plan.step, found, constants, begin, end)


class _Asked:
    """Runs a plan against a classifier that gives logits for arrays and nothing else."""

    state = ()

    def __init__(self, plan, classifier):
        self.plan, self.classifier = plan, classifier
        self.candidate = backend.compile(plan.candidate)
        self.accept = backend.compile(lambda *args: plan.accept(*args, ()))

    def call(self, name, fn, *args):
        return backend.compile(fn)(*args)

    def first(self, found, y):
        return self._settle(found, y, found.adv)

    def iterate(self, found, constants, begin, end):
        x, y, epsilon, draws = constants
        for i in range(begin, end):
            number = ops.convert_to_tensor(i, dtype="int32")
            found = self._settle(found, y, self.candidate(number, found.adv, x, epsilon, draws))
        return found

    def _settle(self, found, y, adv):
        """Ask only about images that are not broken, since a query may cost time or money."""
        whole = ~ops.convert_to_numpy(found.success)
        if not np.any(whole):
            return found
        answer = ops.convert_to_numpy(
            _ask(self.classifier, ops.convert_to_numpy(adv)[whole], self.plan.eot_samples, adv.dtype)
        )
        logits = np.zeros((len(whole), answer.shape[1]), answer.dtype)
        logits[whole] = answer
        return self.accept(found, y, adv, ops.convert_to_tensor(logits))


def _ask(classifier, x, samples, dtype):
    """Ask a classifier for logits, averaged over some draws, and check their shape."""
    x = ops.convert_to_numpy(x)
    logits = np.mean([np.asarray(classifier.predict(x)) for _ in range(samples)], axis=0)
    if logits.ndim != 2 or logits.shape[0] != x.shape[0] or logits.shape[1] < 2:
        raise ValueError(
            f"A classifier must give logits of shape ({x.shape[0]}, K), K at least 2. "
            f"Received: logits of shape {logits.shape}"
        )
    return ops.convert_to_tensor(logits, dtype=dtype)
