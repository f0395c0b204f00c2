"""Adversarial examples of one attack, each verified."""

import dataclasses
from typing import Any, ClassVar

from sharedkeras.attacks import Attack
from sharedkeras.attacks import attack as attack_base
from sharedkeras.evaluation.checks.upper_bound import bounded_above
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options


def craft(
    network,
    x,
    y,
    attack,
    *,
    name,
    batch_size=128,
    seed=0,
    select=None,
    index=None,
    settings=None,
    resume_from=None,
    label_names=None,
    verbose=None,
):
    """Craft an adversarial example of every image that the network classifies correctly.

    Each is verified by a fresh forward pass, as in `evaluate`. Attacks that look for the nearest
    success, which `evaluate` stops at the first, here search to their end, so that distances mean
    something.

    Args:
        network: `keras.Model`; for black-box attacks also a callable on NumPy arrays.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        attack: an attack of `sharedkeras.attacks`.
        name: str, what the report calls it.
        batch_size: int, the most examples attacked at once.
        seed: int; all draws follow from it and the examples' numbers.
        select: str or int, which output to attack, where the network has several.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report, such as the dataset's name.
        resume_from: path of a directory that keeps finished examples.
        label_names: names of the classes, for the report.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report` with this attack alone: `adversarial` holds the examples, the clean image where none
        was found or none was needed, and `distance[name]` their distances. `save_adversarial` writes
        them.

    Raises:
        ValueError: if the images, labels, the attack or the network's output are not what they must be.
    """
    x, y = arrays(x, y)
    attack_base.check_attacks({name: attack})
    used = _ToItsEnd(attack, attack.norm, attack.epsilon) if attack.seeks_nearest else attack
    options = Options(
        cascade=False,
        batch_size=batch_size,
        seed=seed,
        select=select,
        index=index,
        settings={"attacks": {name: attack_base.settings(attack)}, **(settings or {})},
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    report = judge(network, x, y, {name: used}, options)
    return bounded_above(
        report, f"{name} alone was run; judge the network with `autoattack` before quoting a figure."
    )


@dataclasses.dataclass(frozen=True)
class _ToItsEnd(Attack):
    """An attack that is not told to stop at its first success."""

    attack: Any
    norm: str
    epsilon: float | None

    seeks_nearest: ClassVar[bool] = True

    def craft(self, task):
        """Search as the attack does, to its end."""
        return self.attack.craft(task._replace(early_stop=False))
