"""The contract of attacks: what each is given, what it returns, what it declares."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from sharedkeras.arguments import need_radius, plain
from sharedkeras.attacks.verdict import is_label
from sharedkeras.math import norms
from sharedkeras.models import as_classifier

ROLES = (
    "one-step",
    "fixed-step",
    "adaptive",
    "boundary",
    "nearest",
    "black-box",
    "features",
    "transfer",
    "other",
)
"""What an attack can be in the checks of an evaluation; see `Attack.role`."""
_GRADIENT_LOSSES = {"ce": "ce", "margin": "margin", "dlr": "dlr", "dlr-targeted": "dlr"}


class AttackResult(NamedTuple):
    """What an attack found, example by example.

    Attributes:
        adversarial: `(batch, H, W, C)` the crafted images.
        success: `(batch,)` bool, misclassified within the ball and within [0, 1].
        best_loss: `(batch,)` the largest loss seen.
        distance: `(batch,)` size of the smallest successful perturbation, infinite without one.
        queries: `(batch,)` int32, forward passes spent on each example.
        trace: dict of `(steps, batch)` arrays if asked for, else None.
    """

    adversarial: Any
    success: Any
    best_loss: Any
    distance: Any
    queries: Any
    trace: dict | None = None


class Task(NamedTuple):
    """What `Attack.run` was given, checked and converted to tensors.

    Attributes:
        classifier: `Classifier`.
        x: `(batch, H, W, C)` clean images in [0, 1].
        y: `(batch,)` labels, or a nested structure that `loss` compares with.
        seed: int or `(2,)` uint32 key.
        loss: function that replaces the attack's own, or None.
        epsilon: `(batch,)` sizes of the balls, infinite for an attack without a bound.
        index: `(batch,)` int32, the examples' numbers.
        start: `(batch, H, W, C)` first iterates, as they were given, or None.
        guide: `(batch, H, W, C)` images, or None.
        trace: bool.
        early_stop: bool.
        max_rows: int, at least the number of examples unless a smaller one was given.
        visit: function, or None.
    """

    classifier: Any
    x: Any
    y: Any
    seed: Any
    loss: Callable | None
    epsilon: Any
    index: Any
    start: Any
    guide: Any
    trace: bool
    early_stop: bool
    max_rows: Any
    visit: Callable | None


class Attack:
    """Base of the attacks: a frozen dataclass of hyperparameters that crafts images.

    A subclass has the fields `norm` and `epsilon`, checks its fields in `__post_init__`, and defines
    `craft(task)`. What the evaluation asks of an attack is declared here with the usual answer; a
    subclass declares what differs. Nobody asks for an attack's class.

    Attributes:
        kind: str, the name in reports and in the random draws; the class's name unless declared.
        role: what the attack counts as where attacks are compared. One of `ROLES`: "one-step",
            "fixed-step" (gradients, steps of a given size), "adaptive" (finds its own steps),
            "boundary" and "nearest" (look for the smallest success), "black-box" (sees logits),
            "features" (sees a layer), "transfer" (crafts on another network), or "other", which is not
            compared.
        norm: "linf", "l2" or "l1".
        epsilon: float, the ball's size, or None for any distance.
        loss: name of the loss that the attack maximises, a function, or None for another goal.
        eot_samples: int, draws of a randomised network for each gradient.
        black_box: bool, whether logits are enough; other attacks need a network with gradients.
        replaceable_loss: bool, whether `run` takes another `loss`.
        needs_labels: bool, whether `y` must hold labels.
        guided: bool, whether `run` takes a `guide`.
        seeks_nearest: bool, whether it looks for the nearest success, which `early_stop` cuts short.
        ends_at_iterate: bool, whether a failed attack returns the point where it ended, at which the
            gradient of its loss can be checked.

    Example:
        >>> from sharedkeras.attacks.verdict import is_wrong, success_and_distance
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Brighter(Attack):
        ...     norm: str = "linf"
        ...     epsilon: float = 0.1
        ...
        ...     def craft(self, task):
        ...         x, y, classifier = task.x, task.y, task.classifier
        ...         adv = ops.clip(x + self.epsilon, 0.0, 1.0)
        ...         wrong = is_wrong(y, classifier.predict(adv))
        ...         norm = norms.get(self.norm)
        ...         success, distance = success_and_distance(norm, x, adv, wrong, task.epsilon)
        ...         loss, queries = ops.zeros_like(distance), ops.ones_like(y)
        ...         return AttackResult(adv, success, loss, distance, queries)
        >>> Brighter().kind, Brighter().role, Brighter().gradient_loss
        ('Brighter', 'other', 'margin')
    """

    kind: ClassVar[str] = "Attack"
    role: ClassVar[str] = "other"
    norm = None
    epsilon = None
    loss = None
    eot_samples = 1
    black_box: ClassVar[bool] = False
    replaceable_loss: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    seeks_nearest: ClassVar[bool] = False
    ends_at_iterate: ClassVar[bool] = False

    def __post_init__(self):
        """Check the radius and store NumPy's numbers as Python's; a subclass calls this first."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        need_radius(self.norm, self.epsilon)

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        if "kind" not in cls.__dict__:
            cls.kind = cls.__name__
        if cls.role not in ROLES:
            raise ValueError(f"`role` must be one of {ROLES}. Received: role={cls.role!r} of {cls.kind}")

    @property
    def query_cost(self):
        """The forward passes that one of an example's `queries` costs; a gradient counts as two."""
        return 1.0 if self.black_box else 2.0

    def most_queries(self, num_classes):
        """Return the `queries` of an example that withstands the attack, or 0 if they vary.

        Args:
            num_classes: int.
        """
        return 0

    def implied_by(self):
        """Return the attacks each of whose successes is one of this attack too, with the same draws."""
        return ()

    def divisions(self):
        """Return tuples of attacks that together make just the runs of this one, with the same draws.

        What withstands all attacks of a tuple withstands this one.
        """
        return ()

    @property
    def gradient_loss(self):
        """The loss whose gradient leads the attack: "ce", "margin" or "dlr"; None without gradients.

        Other losses and goals are counted as "margin", a difference of logits.
        """
        return None if self.black_box else _GRADIENT_LOSSES.get(self.loss, "margin")

    def __call__(
        self, classifier, x, y, *, seed, loss=None, epsilon=None, index=None, start=None, guide=None
    ):
        """Craft adversarial images: `run(...).adversarial`, through which no gradient flows.

        Args:
            classifier: as in `run`, like the other arguments.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key.
            loss: `loss(y, logits) -> (batch,)` that replaces the attack's own.
            epsilon: `(batch,)` sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers.
            start: `(batch, H, W, C)` images at which the search begins.
            guide: `(batch, H, W, C)` images, of a guided attack.

        Returns:
            `(batch, H, W, C)` tensor in [0, 1].
        """
        given = {"loss": loss, "epsilon": epsilon, "index": index, "start": start, "guide": guide}
        return ops.stop_gradient(self.run(classifier, x, y, seed=seed, **given).adversarial)

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
        guide=None,
        trace=False,
        early_stop=False,
        max_rows=None,
        visit=None,
    ):
        """Craft adversarial images and tell how it went.

        The arguments are the same for every attack. What an attack returns beyond the common, and what
        its trace holds, is said of its class.

        Args:
            classifier: `Classifier` such as `FrozenClassifier`, or a `keras.Model`; for a black-box
                attack also a callable from NumPy images to logits.
            x: `(batch, H, W, C)` clean images in [0, 1].
            y: `(batch,)` labels, or what `loss` compares with.
            seed: int or `(2,)` uint32 key, from which with `index` all draws follow.
            loss: `loss(y, logits) -> (batch,)` that replaces the attack's own.
            epsilon: float or `(batch,)`, sizes of the balls that replace the attack's own.
            index: `(batch,)` int32, the examples' numbers, which decide their draws; 0, 1, ... if None.
            start: `(batch, H, W, C)` images at which the search begins, in place of the clean images or
                a random start.
            guide: `(batch, H, W, C)` images that a guided attack imitates.
            trace: bool, whether to record how the search went. Slower, and not inside a graph.
            early_stop: bool, whether the search for an example may end at its first success. Successes
                are the same, images and distances may be those of an earlier iterate.
            max_rows: int, the most rows of a batch: where few examples are left, an attack of several
                runs stacks them up to it. As many as there are examples if None. No verdict
                depends on it.
            visit: `visit(iterations, iterates, y, going)`, called at the checkpoints of an attack that
                has them, with the iterations made, the iterates that the run goes on from, their
                labels, and a NumPy bool array of those not broken yet; or None.

        Returns:
            `AttackResult`. Where `y` holds no labels, `success` is False.

        Raises:
            ValueError: if the images are no batch of floats, or the attack takes no such `loss`, `y` or
                `guide`, or needs gradients that the classifier has not.

        Example:
            >>> import numpy as np
            >>> from sharedkeras.attacks import PGD
            >>> images = keras.Input((4, 4, 1))
            >>> logits = keras.layers.Dense(2)(keras.layers.Flatten()(images))
            >>> network = keras.Model(images, logits)
            >>> x, y = np.full((3, 4, 4, 1), 0.5, "float32"), np.array([0, 1, 0])
            >>> attack = PGD(norm="linf", epsilon=0.1, step_size=0.025, steps=10)
            >>> result = attack.run(network, x, y, seed=0)
            >>> result.adversarial.shape == x.shape, result.queries.shape == y.shape
            (True, True)
            >>> bool(np.abs(ops.convert_to_numpy(result.adversarial) - x).max() <= 0.1 + 1e-6)
            True
        """
        classifier = as_classifier(classifier)
        x, y = _checked_images(x), _as_tensors(y)
        self._check(classifier, y, loss, guide)
        count = ops.shape(x)[0]
        index = ops.arange(count, dtype="int32") if index is None else ops.convert_to_tensor(index)
        epsilon = self.epsilon if epsilon is None else epsilon
        epsilon = ops.convert_to_tensor(math.inf if epsilon is None else epsilon, dtype=x.dtype)
        task = Task(
            classifier=classifier,
            x=x,
            y=y,
            seed=seed,
            loss=loss,
            epsilon=ops.broadcast_to(epsilon, (count,)),
            index=ops.cast(index, "int32"),
            start=None if start is None else ops.convert_to_tensor(start, dtype=x.dtype),
            guide=None if guide is None else _checked_guide(guide, x),
            trace=trace,
            early_stop=early_stop,
            max_rows=count if max_rows is None else max_rows,
            visit=visit,
        )
        return self.craft(task)

    def craft(self, task):
        """Search as `run` promises; what a subclass defines.

        Args:
            task: `Task`.

        Returns:
            `AttackResult`.
        """
        raise NotImplementedError(f"`{self.kind}` must define `craft(task)`.")

    def _check(self, classifier, y, loss, guide):
        if not (self.black_box or classifier.white_box):
            raise ValueError(
                f"`{self.kind}` needs gradients, and a plain callable has none; use a black-box attack "
                f"such as Square. Received: classifier={classifier.name!r}"
            )
        if loss is not None and not self.replaceable_loss:
            raise ValueError(
                f"`{self.kind}` has a goal of its own; a loss cannot replace it. Received: loss={loss!r}"
            )
        if guide is not None and not self.guided:
            raise ValueError(f"`{self.kind}` takes no guide. Received: guide of type {type(guide)}")
        if self.needs_labels and not is_label(y):
            found = keras.tree.map_structure(lambda t: (tuple(t.shape), _dtype(t)), y)
            raise ValueError(
                f"`{self.kind}` needs integer labels of shape (batch,). "
                f"Received: y of shape and type {found}"
            )


def check_attacks(attacks, classifier=None, reserved=("clean",)):
    """Refuse what is no dict of attacks, or of attacks that cannot be run on a classifier.

    Args:
        attacks: dict from name to `Attack`.
        classifier: `Classifier`, or None where only the attacks are checked.
        reserved: names that no attack may have.

    Raises:
        ValueError: naming the first attack that is none or cannot be run.
    """
    if not isinstance(attacks, dict):
        raise ValueError(
            "`attacks` must be a dict from a name to an attack, also for a single one: "
            f'{{"pgd20": PGD(...)}}. Received: attacks={attacks!r}'
        )
    if not attacks:
        raise ValueError(f"There must be at least one attack. Received: attacks={attacks}")
    for name, attack in attacks.items():
        if name in reserved or not isinstance(attack, Attack):
            raise ValueError(
                f"`attacks` must map names other than {', '.join(map(repr, reserved))} to attacks: "
                "those of sharedkeras.attacks, or your own, a subclass of sharedkeras.attacks.Attack. "
                f"Received: {name!r}: {attack!r}"
            )
        norms.get(attack.norm)
        if classifier is not None and not (attack.black_box or classifier.white_box):
            raise ValueError(
                f"The attack {name!r} needs gradients, and a plain callable has none; use black-box "
                f"attacks such as Square. Received: {attack!r}, classifier={classifier.name!r}"
            )


def settings(attack):
    """Return an attack's configuration as plain data, for reports."""
    return {"attack": attack.kind, "role": attack.role, **dataclasses.asdict(attack)}


def _checked_images(x):
    x = ops.convert_to_tensor(x)
    if len(x.shape) != 4 or not keras.backend.is_float_dtype(_dtype(x)):
        raise ValueError(
            "`x` must be images in [0, 1], a float array of shape (batch, H, W, C). "
            f"Received: x of shape {tuple(x.shape)} and type {_dtype(x)}"
        )
    return x


def _as_tensors(y):
    if isinstance(y, list | tuple):  # A list of labels is an array, not a structure.
        y = ops.convert_to_tensor(y)
    return keras.tree.map_structure(ops.convert_to_tensor, y)


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


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
