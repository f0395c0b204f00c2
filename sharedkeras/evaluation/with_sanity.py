"""A report together with what the fuller checks of its network find."""

import dataclasses
import time

from sharedkeras.evaluation.checks_gradients import EXAMPLES
from sharedkeras.evaluation.sanity import check


def with_sanity(report, network, x, y, *, norm="linf", epsilon=8 / 255, batch_size=64, select=None):
    """Attacks at most 64 of the images as `sanity.check` does, and adds its findings to a report.

    It costs 190 input gradients an image: PGD of 10 steps and twice 40 in the ball, twice 50 in one that
    holds every image. A code that the report has already is not added a second time: what it
    says there is of the attacks that were run, and of all examples.

    Args:
        report: `Report` of the same network.
        network: `keras.Model`.
        x: `(n, H, W, C)` float images in [0, 1]; the first 64 are looked at.
        y: `(n,)` integer labels.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0.
        batch_size: int, the most images at once.
        select: str or int, which output to attack, where the network has several.

    Returns:
        `Report` with more findings; `settings["sanity"]` says on how many images, in which ball, in how
        many seconds, and which codes were found.

    Raises:
        ValueError: if the images, the labels, the norm or epsilon are not what they must be.
    """
    started = time.perf_counter()
    found = check(
        network,
        x,
        y,
        norm=norm,
        epsilon=epsilon,
        batch_size=batch_size,
        seed=report.seed,
        select=select,
    )
    note = {
        "examples": min(len(x), EXAMPLES),
        "norm": norm,
        "epsilon": epsilon,
        "seconds": round(time.perf_counter() - started, 1),
        "found": [finding.code for finding in found],
    }
    known = {finding.code for finding in report.findings}
    new = [finding for finding in found if finding.code not in known]
    return dataclasses.replace(
        report,
        findings=(*report.findings, *new),
        settings={**report.settings, "sanity": note},
    )
