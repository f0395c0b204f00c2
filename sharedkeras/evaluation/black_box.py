"""The part of AutoAttack that needs no gradients."""

from sharedkeras.attacks import Square
from sharedkeras.evaluation.autoattack import autoattack, checked_radius
from sharedkeras.evaluation.checks.upper_bound import bounded_above


def black_box(
    network,
    x,
    y=None,
    *,
    norm="linf",
    epsilon=8 / 255,
    queries=5000,
    batch_size=256,
    seed=0,
    select=None,
    shard=None,
    index=None,
    settings=None,
    resume_from=None,
    label_names=None,
    verbose=None,
):
    """Judge a network by its outputs alone, with AutoAttack's Square.

    A file, a web endpoint or another framework's network gives logits but no gradients, so only Square
    runs on it. What this leaves standing may fall to gradients.

    Args:
        network: callable from `(batch, H, W, C)` NumPy images in [0, 1] to `(batch, K)` logits, such as
            `export.load_onnx` gives; a `keras.Model` as well.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        norm: "linf" or "l2".
        epsilon: float at least 0; with 0 the robust accuracy is the clean one.
        queries: int, at least 1, forward passes for each image; AutoAttack's number by default.
        batch_size: int, the most examples attacked at once.
        seed: int.
        select: str or int, which output to attack, where a Keras model has several.
        shard: `(i, m)`: judge slice i of m, counted from 0; `evaluation.merge` joins the reports.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report, such as the dataset's name.
        resume_from: path of a directory that keeps finished examples. A callable is known again by
            its logits on some of the images, a file by its digest.
        label_names: names of the classes, for the report.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report` with the attack "square" and the finding "upper-bound".

    Raises:
        ValueError: if the images, labels, settings or the network's output are not what they must be.

    Reference: M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square Attack: a query-efficient
        black-box adversarial attack via random search", 2020.
    """
    epsilon = checked_radius(norm, epsilon)
    # An empty ball holds the clean image only; the attack itself refuses it.
    attack = Square(norm=norm, epsilon=epsilon or 1.0, queries=queries)
    report = autoattack(
        network,
        x,
        y,
        norm=norm,
        epsilon=epsilon,
        version="custom",
        attacks={"square": attack},
        batch_size=batch_size,
        seed=seed,
        select=select,
        shard=shard,
        index=index,
        settings=settings,
        resume_from=resume_from,
        label_names=label_names,
        verbose=verbose,
    )
    if epsilon == 0:
        return report
    return bounded_above(
        report,
        f"Only the black-box part of AutoAttack ran, Square with {queries:,} queries an image; attacks "
        "that follow gradients may leave less.",
    )
