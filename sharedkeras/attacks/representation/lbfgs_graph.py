"""L-BFGS inside a box, for a batch of problems in a graph."""

from typing import Any, NamedTuple

from keras import ops

from sharedkeras import backend
from sharedkeras.attacks.verdict import select
from sharedkeras.math.norms import per_example

_SUFFICIENT = 1e-4  # Armijo's share of the predicted decrease; Nocedal and Wright, section 3.1.
_BACK = 0.25
_CURVED = 1e-8
_TINY = 1e-30


class _Search(NamedTuple):
    """The state of the search; all but the memory has the examples on its first axis."""

    x: Any
    value: Any
    gradient: Any
    direction: Any
    size: Any
    moves: Any  # (history, batch, ...), the newest last
    changes: Any


def minimise(evaluate, start, low, high, *, steps, history):
    """Minimise a function for each example within a box, at one evaluation a step.

    Quasi-Newton steps on the variables that are free, projected onto the box (two-metric projection).
    A step that lowers the function too little is not taken: the example tries a quarter of it next. So
    unlike in SciPy's solver a step is an evaluation, whatever comes of it, which keeps examples in
    lock-step, and the values never rise.

    Args:
        evaluate: `evaluate(x) -> (values, gradients)`, `(batch,)` and the shape of `x`.
        start: `(batch, ...)` tensor within the box.
        low: tensor of the same shape, lower bounds.
        high: tensor of the same shape, upper bounds.
        steps: int, at least 1, evaluations besides the one at the start.
        history: int, at least 1, pairs of steps and gradient changes that are remembered.

    Returns:
        `(x, values)`, the last points and the function's values there.

    Reference: D. Bertsekas, "Projected Newton methods for optimization problems with simple
        constraints", 1982; J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980.
    """
    memory = ops.stack([ops.zeros_like(start)] * history)

    def step(_, search):
        return _step(evaluate, _Search(*search), low, high)

    value, gradient = evaluate(start)
    direction = _direction(start, gradient, low, high, memory, memory)
    size = ops.ones_like(value)
    search = _Search(start, value, gradient, direction, size, memory, memory)
    search = _Search(*backend.repeat(steps, step, tuple(search)))
    return search.x, search.value


def _step(evaluate, search, low, high):
    trial = ops.clip(search.x + per_example(search.size, search.x) * search.direction, low, high)
    value, gradient = evaluate(trial)
    move, change = trial - search.x, gradient - search.gradient
    predicted = _dot(search.gradient, move)
    taken = ops.logical_and(value <= search.value + _SUFFICIENT * predicted, predicted < 0)
    # Only pairs of positive curvature keep the quasi-Newton matrix positive definite.
    curved = _dot(move, change) > _CURVED * ops.sqrt(_dot(move, move) * _dot(change, change))
    kept = ops.logical_and(taken, curved)
    moves, changes = (
        ops.where(
            ops.reshape(kept, (1, -1, *([1] * (len(move.shape) - 1)))),
            ops.concatenate([memory[1:], new[None]]),
            memory,
        )
        for memory, new in ((search.moves, move), (search.changes, change))
    )
    x, gradient = select(taken, trial, search.x), select(taken, gradient, search.gradient)
    direction = _direction(x, gradient, low, high, moves, changes)
    return (
        x,
        ops.where(taken, value, search.value),
        gradient,
        select(taken, direction, search.direction),
        ops.where(taken, ops.ones_like(search.size), _BACK * search.size),
        moves,
        changes,
    )


def _direction(x, gradient, low, high, moves, changes):
    """Run the two-loop recursion on the variables that no bound holds."""
    held = ops.logical_or(
        ops.logical_and(x <= low, gradient > 0), ops.logical_and(x >= high, gradient < 0)
    )
    free = ops.cast(ops.logical_not(held), x.dtype)
    q = gradient * free
    # Without a pair the first step would carry the mean free variable across half its range.
    scale = 0.5 * _dot(high - low, free) / (_dot(ops.abs(q), free) + _TINY)
    moves, changes = moves * free[None], changes * free[None]
    products = _dots(moves, changes)
    squares = _dots(changes, changes)
    valid = products > _CURVED * ops.sqrt(_dots(moves, moves) * squares)
    rho = ops.where(valid, 1.0 / ops.where(valid, products, 1.0), 0.0)
    gamma = products / ops.where(valid, squares, 1.0)
    history = moves.shape[0]
    slots = ops.arange(history)[:, None]

    def newest_first(i, carry):
        q, weights, scale, found = carry
        j = history - 1 - i
        now = _at(valid, j)
        weight = _at(rho, j) * _dot(_at(moves, j), q)
        return (
            q - per_example(weight, q) * _at(changes, j),
            ops.where(ops.equal(slots, j), weight[None], weights),
            ops.where(ops.logical_and(now, ops.logical_not(found)), _at(gamma, j), scale),
            ops.logical_or(found, now),
        )

    def oldest_first(j, r):
        weight = _at(weights, j) - _at(rho, j) * _dot(_at(changes, j), r)
        return r + per_example(weight, r) * _at(moves, j)

    found = ops.zeros_like(scale, dtype="bool")
    carry = (q, ops.zeros_like(rho), scale, found)
    # Loops of the graph even where the outer one is unrolled: there is no convolution in them.
    q, weights, scale, _ = ops.fori_loop(0, history, newest_first, carry)
    r = ops.fori_loop(0, history, oldest_first, per_example(scale, q) * q)
    return -r * free


def _at(values, j):
    return ops.take(values, j, axis=0)


def _dot(a, b):
    return ops.sum(a * b, axis=tuple(range(1, len(a.shape))))


def _dots(a, b):
    return ops.sum(a * b, axis=tuple(range(2, len(a.shape))))
