"""Attacks by way of another network: crafted on a surrogate, judged on the target."""

import dataclasses
from typing import Any, ClassVar

from keras import ops

from sharedkeras.attacks import Attack, AttackResult
from sharedkeras.attacks import attack as attack_base
from sharedkeras.attacks.verdict import is_wrong, success_and_distance
from sharedkeras.evaluation.judging.identity import UnknownIdentity, describe
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.judging.provenance import computes
from sharedkeras.math import norms
from sharedkeras.models import as_classifier

_PREFIX = "transfer-"


def transfer(
    network,
    surrogate,
    x,
    y,
    attacks,
    *,
    batch_size=128,
    seed=0,
    select=None,
    index=None,
    settings=None,
    checks=True,
    resume_from=None,
    label_names=None,
    verbose=None,
):
    """Measure the accuracy on images that were crafted against another network.

    It is what an attacker has who cannot look into the network but owns a similar one, and it needs no
    gradient of the network: a large gap to the white-box figures is expected, an accuracy below them
    shows that those gradients mislead.

    Every image that the network classifies correctly is attacked on the surrogate, whatever the
    surrogate makes of it, and the attack runs to its end instead of stopping at the surrogate's first
    mistake. What it returns counts where the network is wrong within the ball; the surrogate need not
    be. An attack that returns the clean image where it fails, as `CarliniWagner` and `FAB` do, then
    transfers nothing.

    Args:
        network: the target: `keras.Model`, `FrozenClassifier`, or a callable on NumPy arrays.
        surrogate: `keras.Model` or `FrozenClassifier` of the same images and classes; for black-box
            attacks also a callable on NumPy arrays.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        attacks: dict from name to attack, such as `{"pgd20": PGD(...)}`.
        batch_size: int, the most examples attacked at once.
        seed: int; all draws follow from it and the examples' numbers.
        select: str or int, which output of the target to judge, where it has several. For a surrogate
            with several hand over a `FrozenClassifier`.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report.
        checks: bool, whether to add what `sanity.before` and `sanity.after` find.
        resume_from: path of a directory that keeps finished examples.
        label_names: names of the classes, for the report.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report` with an entry "transfer-<name>" for each attack, each on its own; its settings name the
        "surrogate" and give its "surrogate_weights_sha256" (None for a callable).

    Raises:
        ValueError: if the images, labels or attacks are not what they must be, or the two networks do
            not have the same images and classes.

    Reference: N. Papernot et al., "Practical black-box attacks against machine learning", 2017; X. Yu
        et al., "Improving Adversarial Robustness by Learning Shared Information", 2022, Table 6.
    """
    x, y = arrays(x, y)
    target, source = as_classifier(network, select), as_classifier(surrogate)
    _check_alike(target, source)
    attack_base.check_attacks(attacks, source)
    name, parts = source.name, computes(source)
    options = Options(
        cascade=False,
        batch_size=batch_size,
        seed=seed,
        select=select,
        index=index,
        settings={
            # Not by the attack's own name, which the checks take for an attack on this network.
            "attacks": {
                _PREFIX + k: {
                    **attack_base.settings(a),
                    "attack": f"{a.kind} on {name}",
                    "role": _Transferred.role,
                }
                for k, a in attacks.items()
            },
            "surrogate": name,
            "surrogate_weights_sha256": parts["weights"],
            **(settings or {}),
        },
        checks=checks,
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    known = _known(source, parts)
    transferred = {_PREFIX + k: _Transferred.of(a, source, known) for k, a in attacks.items()}
    return judge(network, x, y, transferred, options)


@dataclasses.dataclass(frozen=True)
class _Transferred(Attack):
    """An attack that looks at the surrogate only; `surrogate` says which, for resumed evaluations."""

    attack: Any
    surrogate: Any
    norm: str
    epsilon: float | None

    role: ClassVar[str] = "transfer"
    black_box: ClassVar[bool] = True

    @classmethod
    def of(cls, attack, source, known):
        adapter = cls(attack, known, attack.norm, attack.epsilon)
        # No field: a journal knows it by `surrogate`.
        object.__setattr__(adapter, "source", source)
        return adapter

    def craft(self, task):
        """Craft on the surrogate and judge on the task's classifier."""
        x, y = task.x, task.y
        result = self.attack.run(self.source, x, y, seed=task.seed, index=task.index)
        adv = ops.convert_to_tensor(result.adversarial)
        wrong = is_wrong(y, ops.convert_to_tensor(task.classifier.predict(adv)))
        success, distance = success_and_distance(norms.get(self.norm), x, adv, wrong, task.epsilon)
        return AttackResult(adv, success, result.best_loss, distance, result.queries)


def _known(source, parts):
    """Return what tells one surrogate from another; of one that cannot be told, nothing is kept."""
    if any(value is not None for value in parts.values()):
        return parts
    try:
        return describe(getattr(source, "function", source))
    except UnknownIdentity:
        return object()


def _check_alike(target, source):
    for what, a, b in (
        ("input_shape", target.input_shape, source.input_shape),
        ("num_classes", (target.num_classes,), (source.num_classes,)),
    ):
        sizes = zip(a or (), b or (), strict=False)
        if any(p is not None and q is not None and p != q for p, q in sizes):
            raise ValueError(
                "The surrogate must classify the same images into the same classes as the network. "
                f"Received: {what} {b} and {a}"
            )
