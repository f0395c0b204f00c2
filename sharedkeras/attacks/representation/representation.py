"""The attack on a layer: make the network take one image for another."""

import dataclasses
import weakref

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.arguments import need_count, need_one_of, need_positive
from sharedkeras.attacks.attack import Attack, AttackResult, prepare, radius
from sharedkeras.attacks.representation import lbfgs_graph, lbfgs_scipy
from sharedkeras.attacks.verdict import clip_to_image, is_wrong, success_and_distance
from sharedkeras.math import norms
from sharedkeras.models import FrozenClassifier

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

    The guides are an argument of `run`. Without it they come from the batch, as in the paper's training:
    example i is guided by example `(i + batch // 2) % batch`, so that each half guides the other, or by
    the next one after it with another label. Such a result depends on how the examples are batched;
    with explicit guides it does not.

    Args:
        layer: str, name of the layer whose activations are compared; of a `GaussianStochastic` layer
            ("latent") it is the mean.
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

    layer: str
    norm: str = "linf"
    epsilon: float = 10 / 255
    steps: int = 20
    history: int = 10

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any work."""
        super().__post_init__()
        if not isinstance(self.layer, str) or not self.layer:
            raise ValueError(f"`layer` must be the name of a layer. Received: layer={self.layer!r}")
        need_one_of(("linf",), norm=self.norm)
        need_positive(epsilon=self.epsilon)
        need_count(steps=self.steps, history=self.history)

    def __call__(self, classifier, x, y, *, guide=None, **arguments):
        """Crafts adversarial images; arguments as in `run`, which tells more."""
        result = self.run(classifier, x, y, guide=guide, **arguments)
        return ops.stop_gradient(result.adversarial)

    def run(
        self,
        classifier,
        x,
        y,
        *,
        seed,
        guide=None,
        loss=None,
        epsilon=None,
        index=None,
        start=None,
        trace=False,
        early_stop=False,
    ):
        """Crafts adversarial images and tells how it went.

        Args:
            classifier: `FrozenClassifier` of a functional network. A randomised one keeps its draws
                during the attack, so that the objective is a function.
            x: `(batch, H, W, C)` clean images in [0, 1], the sources.
            y: `(batch,)` integer labels.
            seed: int or `(2,)` uint32 key, of no effect: nothing is drawn.
            guide: `(batch, H, W, C)` images whose activations are to be met; by default others of the
                batch, see the class.
            loss: refused, since the distance of the activations is what the attack is made of.
            epsilon: `(batch,)` sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, of no effect.
            start: `(batch, H, W, C)` images at which the search starts instead of `x`, put into the box.
            trace: bool, whether to record as `(batch,)` arrays `distance_ratio`, the activations'
                distance from the guide's at the end over that at `x`, and `label_of_guide`, whether the
                image is now classified as its guide is; and outside of a graph, as a `(steps, batch)`
                array, `loss`, the squared distance after each iteration.
            early_stop: bool, accepted for uniformity; this attack judges its last iterate.

        Returns:
            `AttackResult`; `success` is misclassification of `adversarial` within the ball, and
            `best_loss` minus the squared distance of the activations.

        Raises:
            ValueError: if a loss is given, or the network has no such layer, or the guides have another
                shape than the images.
        """
        if loss is not None:
            raise ValueError(
                "`Representation` minimises the distance of activations; a loss cannot replace it. "
                f"Received: loss={loss!r}"
            )
        classifier, x, y, _ = prepare(classifier, x, y, index)
        if guide is None:
            guide = ops.take(x, _default_guides(y, ops.shape(x)[0]), axis=0)
        else:
            guide = _checked_guide(guide, x)
        epsilon = radius(self, epsilon, x)
        size = norms.per_example(epsilon, x)
        low, high = clip_to_image(x - size), clip_to_image(x + size)
        start = x if start is None else ops.convert_to_tensor(start, dtype=x.dtype)
        start = ops.clip(start, low, high)
        tracing = backend.is_tracing((x, y, guide, start, epsilon, classifier.parameters))
        phi = _view(classifier, self.layer, tracing)
        target = phi.predict(guide)
        solve = self._in_graph if tracing else self._with_scipy
        adv, squared, queries, record = solve(phi, target, start, low, high)
        arguments = (adv, x, y, epsilon, classifier.state)
        success, distance = classifier.apply("representation verdict", _verdict, *arguments)
        if trace:
            record["distance_ratio"] = _ratio(squared, _squared(phi.predict(x), target))
            labels = [ops.argmax(classifier.predict(images), axis=-1) for images in (adv, guide)]
            record["label_of_guide"] = ops.equal(*labels)
        queries = queries + 2  # the guide's pass and the verdict's
        return AttackResult(adv, success, -squared, distance, queries, record if trace else None)

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
        network = classifier.unfolded  # A folded convolution gives another activation.
        outputs = network.get_layer(layer).output
        # The Gaussian layer gives a sample, the mean and the scale.
        stochastic = hasattr(network.get_layer(layer), "sample_at_inference")
        chosen = outputs[1 if stochastic else 0] if isinstance(outputs, list | tuple) else outputs
        views[layer] = FrozenClassifier(keras.Model(network.input, chosen))
    else:
        views[layer].refresh()
    return views[layer]


def _checked_guide(guide, x):
    guide = ops.convert_to_tensor(guide, dtype=x.dtype)
    shapes = tuple(guide.shape), tuple(x.shape)
    pairs = zip(*shapes, strict=False)
    if len(shapes[0]) != len(shapes[1]) or any(a != b for a, b in pairs if None not in (a, b)):
        raise ValueError(
            "`guide` must have one image for each of `x`. "
            f"Received: guide of shape {shapes[0]}, x of shape {shapes[1]}"
        )
    return guide


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
    label = len(y.shape) == 1 and not keras.backend.is_float_dtype(_dtype(y))
    wrong = is_wrong(y, logits) if label else ops.zeros_like(logits[:, 0], dtype="bool")
    return success_and_distance(norms.get("linf"), x, adv, wrong, epsilon)


def _ratio(after, before):
    """Of the distances whose squares are given; 1 where an image already is as its guide."""
    there = before > 0
    return ops.sqrt(ops.where(there, after / ops.where(there, before, 1.0), 1.0))


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
