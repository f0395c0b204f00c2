"""Adam's descent on the cost of Carlini and Wagner's attack, whichever rules choose c."""

import math
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.verdict import select
from sharedkeras.math import norms
from sharedkeras.models.classifiers.gradients import input_gradient

_BETA1, _BETA2, _ADAM_GUARD = 0.9, 0.999, 1e-8
_NO_UPPER = 1e10  # Of the authors' code: the upper bound on c before any success.


class Search(NamedTuple):
    """What one step hands to the next; all per example, but for the classifier's state."""

    w: Any  # the image in the space of tanh
    mean: Any  # Adam's two averages
    square: Any
    c: Any
    lower: Any  # bounds on c
    upper: Any
    found: Any  # whether this value of c has succeeded
    active: Any  # whether this value of c may still improve
    done: Any  # whether no further value of c is needed
    previous: Any  # the cost at the last check of progress
    best: Any  # the nearest success and its squared distance
    best_size: Any
    queries: Any
    state: Any
    seen: Any  # of the last step: squared distance, f, cost, predicted class


def begin(rules, view, state, constants):
    """Return the search before its first step.

    Args:
        rules: `Bisection` or `Torchattacks`.
        view: `FrozenClassifier`.
        state: the classifier's state.
        constants: images, labels, first iterates, and distances up to which a success counts.

    Returns:
        `Search`.
    """
    x, y, start, _ = constants
    row = ops.zeros_like(x[:, 0, 0, 0])
    infinite = ops.full_like(row, math.inf)
    nothing = ops.zeros_like(row, dtype="bool")
    count = ops.zeros_like(row, dtype="int32")
    w, _ = rules.to_tanh_space(start)
    done, passes, state = rules.already_done(view, x, y, state)
    return Search(
        w=w,
        mean=ops.zeros_like(w),
        square=ops.zeros_like(w),
        c=ops.full_like(row, rules.first_c),
        lower=row,
        upper=ops.full_like(row, _NO_UPPER),
        found=nothing,
        active=ops.logical_not(nothing),
        done=done,
        previous=infinite,
        best=x,
        best_size=ops.where(done, row, infinite),
        queries=count + passes,
        state=state,
        seen=(row, row, row, count),
    )


def step(rules, view, i, search, constants, early_stop):
    """Make one step of Adam.

    Args:
        rules: `Bisection` or `Torchattacks`.
        view: `FrozenClassifier`.
        i: scalar int32 tensor, the step's number over all values of c.
        search: `Search`.
        constants: as in `begin`.
        early_stop: bool, whether an example is left alone at its first success within its distance.

    Returns:
        `Search`.
    """
    attack = rules.attack
    x, y, start, epsilon = constants
    t = i % attack.steps
    search = rules.choose_c(i, t, search, start)
    _, movable = rules.to_tanh_space(start)
    tanh = ops.cast(ops.tanh(search.w), x.dtype)
    adv = ops.where(movable, 0.5 * (tanh + 1.0), start)
    f, logits, gradient, state = input_gradient(view, rules.f, y, adv, search.state, attack.eot_samples)
    sq_l2 = ops.sum(ops.square(adv - x), axis=(1, 2, 3))
    cost = sq_l2 + search.c * f

    # Recorded before Adam moves on, so the last update is never looked at.
    wrong = ops.logical_and(rules.succeeds(y, logits), search.active)
    nearer = ops.logical_and(wrong, sq_l2 < search.best_size)
    best_size = ops.where(nearer, sq_l2, search.best_size)

    slope = 2.0 * (adv - x) + norms.per_example(search.c, x) * gradient
    slope = ops.where(movable, slope * 0.5 * (1.0 - ops.square(tanh)), ops.zeros_like(slope))
    mean = _BETA1 * search.mean + (1.0 - _BETA1) * slope
    square = _BETA2 * search.square + (1.0 - _BETA2) * ops.square(slope)
    rate, correction = _adam(attack, t, x.dtype)
    w = search.w - rate * mean / (ops.sqrt(square) * correction + _ADAM_GUARD)

    checked = ops.broadcast_to(ops.equal(t % attack.checked_every, 0), ops.shape(cost))
    judged, share = rules.progress(cost)
    stuck = judged > search.previous - share * _finite_size(search.previous)
    active = ops.logical_and(search.active, ops.logical_not(ops.logical_and(checked, stuck)))
    done = search.done
    if early_stop:
        near = ops.logical_and(ops.isfinite(best_size), ops.sqrt(best_size) <= epsilon)
        done = ops.logical_or(done, near)
        active = ops.logical_and(active, ops.logical_not(done))
    return search._replace(
        w=select(search.active, w, search.w),
        mean=mean,
        square=square,
        found=ops.logical_or(search.found, wrong),
        active=active,
        done=done,
        previous=ops.where(checked, judged, search.previous),
        best=select(nearer, adv, search.best),
        best_size=best_size,
        queries=search.queries + attack.eot_samples * ops.cast(search.active, "int32"),
        state=state,
        seen=(sq_l2, f, cost, ops.cast(ops.argmax(logits, axis=-1), "int32")),
    )


def _adam(attack, t, dtype):
    """Adam's two corrections of the bias at step t, computed in double precision."""
    number = np.arange(1, attack.steps + 1, dtype="float64")
    rates = attack.learning_rate / (1.0 - _BETA1**number)
    corrections = 1.0 / np.sqrt(1.0 - _BETA2**number)
    return (ops.take(ops.convert_to_tensor(v, dtype=dtype), t) for v in (rates, corrections))


def _finite_size(value):
    return ops.where(ops.isfinite(value), ops.abs(value), ops.zeros_like(value))
