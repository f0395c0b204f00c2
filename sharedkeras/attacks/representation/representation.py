"""The attack on a layer: make the network take one image for another."""

import dataclasses
import weakref
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult
from sharedkeras.attacks.representation import lbfgs_graph, lbfgs_scipy
from sharedkeras.attacks.verdict import is_wrong, success_and_distance
from sharedkeras.math import norms
from sharedkeras.math.projections import clip_to_image

_VIEWS = weakref.WeakKeyDictionary()
"""By classifier and layer, the views that have compiled their graphs already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Representation(Attack):
    """Brings the activations of a layer as near as it can to those of another image, the guide.

        x' = argmin ||phi(x') - phi(guide)||^2  subject to  ||x' - x||_inf <= epsilon, x' in [0, 1]

    It never looks at the logits, so it finds what a defence of the output alone leaves open: an image
    that looks like one thing and is another to every layer from this one on.

    Each image has an L-BFGS-B of its own (SciPy's), and all of them advance in lock-step, every round
    of evaluations being one pass of the network. `steps` counts its iterations, as SciPy's `maxiter`.
    In a graph, as in training, no host code can run: there a projected L-BFGS of the same objective and
    the same box does it, and `steps` counts its evaluations.

    The guides are the argument `guide` of `run`. Without it they come from the batch, as in the paper's
    training: example i is guided by example `(i + batch // 2) % batch`, so that each half guides the
    other, or by the next one after it with another label. Such a result depends on how the examples are
    batched; with explicit guides it does not.

    The network must be functional; a randomised one keeps its draws during the attack, so that the
    objective is a function. `best_loss` is minus the squared distance of the activations. Nothing is
    drawn, and `early_stop` changes nothing. `trace` holds `(batch,)` arrays: "distance_ratio", the
    activations' distance from the guide's at the end over that at `x`, and "label_of_guide", whether the
    image is now classified as its guide is; and outside of a graph "loss", `(steps, batch)`, the squared
    distance after each iteration.

    Args:
        layer: str, name of the layer whose activations are compared, or None for the last one before
            the dense layer of logits; of a `GaussianStochastic` layer ("latent") it is the mean.
        norm: "linf", the only norm whose ball is a box.
        epsilon: float above 0, the ball's size in units of an image in [0, 1].
        steps: int, at least 1.
        history: int, at least 1, how many pairs of steps and gradient changes are remembered.

    Raises:
        ValueError: if a value is out of range.

    Reference: S. Sabour, Y. Cao, F. Faghri, D. Fleet, "Adversarial manipulation of deep
        representations", 2016; X. Yu et al., "Improving Adversarial Robustness by Learning Shared
        Information", 2022, section 4.4.
    """

    layer: str | None = None
    norm: str = "linf"
    epsilon: float = 10 / 255
    steps: int = 20
    history: int = 10

    role: ClassVar[str] = "features"
    replaceable_loss: ClassVar[bool] = False
    guided: ClassVar[bool] = True

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        if self.layer is not None and not (isinstance(self.layer, str) and self.layer):
            raise ValueError(
                f"`layer` must be the name of a layer, or None. Received: layer={self.layer!r}"
            )
        need_one_of(("linf",), norm=self.norm)
        need_positive(epsilon=self.epsilon)
        need_count(steps=self.steps, history=self.history)

    @property
    def gradients(self):
        """The input gradients that the attack takes of each example in training."""
        return self.steps + 1

    def craft(self, task):
        """Solve for the images whose activations are nearest to the guides'."""
        classifier, x, y = task.classifier, task.x, task.y
        guide = task.guide
        if guide is None:
            guide = ops.take(x, _default_guides(y, ops.shape(x)[0]), axis=0)
        size = norms.per_example(task.epsilon, x)
        low, high = clip_to_image(x - size), clip_to_image(x + size)
        start = ops.clip(x if task.start is None else task.start, low, high)
        tracing = backend.is_tracing((x, y, guide, start, task.epsilon, classifier.parameters))
        phi = _view(classifier, self.layer, tracing)
        target = phi.predict(guide)
        solve = self._in_graph if tracing else self._with_scipy
        adv, squared, queries, record = solve(phi, target, start, low, high)
        arguments = (adv, x, y, task.epsilon, classifier.state)
        success, distance = classifier.apply("representation verdict", _verdict, *arguments)
        if task.trace:
            record["distance_ratio"] = _ratio(squared, _squared(phi.predict(x), target))
            labels = [ops.argmax(classifier.predict(images), axis=-1) for images in (adv, guide)]
            record["label_of_guide"] = ops.equal(*labels)
        queries = queries + 2  # the guide's pass and the verdict's
        return AttackResult(adv, success, -squared, distance, queries, record if task.trace else None)

    def _with_scipy(self, phi, target, start, low, high):
        count = start.shape[0]

        def evaluate(rows, points):
            points = ops.convert_to_tensor(points.astype(_dtype(start)))
            whole = np.array_equal(rows, np.arange(count))
            wanted = target if whole else ops.take(target, rows, axis=0)
            value, gradient = phi.apply("representation", _evaluate, points, wanted, phi.state)
            return ops.convert_to_numpy(value), ops.convert_to_numpy(gradient)

        arrays = (ops.convert_to_numpy(t) for t in (start, low, high))
        points, values, queries = lbfgs_scipy.minimise(
            evaluate, *arrays, steps=self.steps, history=self.history
        )
        adv = ops.convert_to_tensor(points.astype(_dtype(start)))
        record = {"loss": ops.convert_to_tensor(values.astype(_dtype(start)))}
        return adv, record["loss"][-1], ops.convert_to_tensor(queries), record

    def _in_graph(self, phi, target, start, low, high):
        adv, squared = lbfgs_graph.minimise(
            lambda points: _evaluate(phi, points, target, phi.state),
            start,
            low,
            high,
            steps=self.steps,
            history=self.history,
        )
        queries = ops.full_like(ops.cast(squared, "int32"), self.steps + 1)
        return adv, squared, queries, {}


def _view(classifier, layer, tracing):
    """Return the classifier's network up to a layer; outside of a graph the same one for every batch."""
    views = {} if tracing else _VIEWS.setdefault(classifier, {})
    if layer not in views:
        views[layer] = classifier.tap(layer)
    else:
        views[layer].refresh()
    return views[layer]


def _default_guides(y, count):
    """For each example the number of its guide, `(batch,)` int32."""
    position = ops.arange(count, dtype="int32")
    opposite = ops.mod(position + count // 2, count)
    if len(y.shape) != 1:
        return opposite
    candidates = ops.mod(position[:, None] + opposite[None, :], count)
    differs = ops.not_equal(ops.take(y, candidates, axis=0), y[:, None])
    first = ops.argmax(ops.cast(differs, "int32"), axis=1)
    return ops.take_along_axis(candidates, ops.cast(first, "int32")[:, None], axis=1)[:, 0]


def _squared(activations, target):
    return ops.sum(ops.square(activations - target), axis=tuple(range(1, len(target.shape))))


def _evaluate(phi, points, target, state):
    """Equation 17's objective and its gradient, for each example."""

    def objective(points):
        activations, _ = phi(points, state)
        squared = _squared(activations, target)
        return ops.sum(squared), squared

    (_, squared), gradient = backend.value_and_grad(objective, points)
    return squared, gradient


def _verdict(view, adv, x, y, epsilon, state):
    logits, _ = view(adv, state)
    return success_and_distance(norms.get("linf"), x, adv, is_wrong(y, logits), epsilon)


def _ratio(after, before):
    """Of the distances whose squares are given; 1 where an image already is as its guide."""
    there = before > 0
    return ops.sqrt(ops.where(there, after / ops.where(there, before, 1.0), 1.0))


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
