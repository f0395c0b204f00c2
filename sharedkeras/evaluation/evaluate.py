"""Accuracy under attacks, each on its own."""

from sharedkeras.attacks.attack import check_attacks
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.report.finding import Finding

_UPPER_BOUND = Finding(
    "upper-bound",
    "warning",
    "No APGD, the strongest part of AutoAttack, is among these attacks: the robust accuracy is an upper "
    "bound. Judge the network with `autoattack` before quoting it.",
)


def evaluate(
    network,
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
    """Measure the accuracy without an attack, under each attack alone, and in the worst case.

    Args:
        network: `keras.Model` (ours or not) from images in [0, 1] to logits; for black-box attacks also
            a callable on NumPy arrays.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        attacks: dict from name to attack, such as `{"pgd20": PGD(...)}`.
        batch_size: int, the most examples attacked at once; verdicts do not depend on it.
        seed: int; all draws follow from it and the examples' numbers.
        select: str or int, which output to attack, where the network has several.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report, such as the dataset's name.
        checks: bool, whether to add what `sanity.before` and `sanity.after` find.
        resume_from: path of a directory that keeps finished examples; a killed evaluation called again
            with it goes on and ends with the same verdicts.
        label_names: names of the classes, for the report.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report`; `report.robust` is the worst case over all attacks, taken for each example.

    Raises:
        ValueError: if the images, labels, attacks or the network's output are not what they must be.
    """
    x, y = arrays(x, y)
    check_attacks(attacks)
    weak = checks and not any(attack.role == "adaptive" for attack in attacks.values())
    options = Options(
        cascade=False,
        batch_size=batch_size,
        seed=seed,
        select=select,
        index=index,
        settings=settings,
        findings=[_UPPER_BOUND] if weak else [],
        checks=checks,
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    return judge(network, x, y, attacks, options)
