"""The rounds of an estimate: what a slice is to do, and what all slices together give."""

import dataclasses

import numpy as np

from sharedkeras.evaluation.estimating.evidence import evidence_of
from sharedkeras.evaluation.estimating.plan import Question, decide
from sharedkeras.evaluation.judging.provenance import weights_digest
from sharedkeras.evaluation.report.estimate import Estimate, Step
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report
from sharedkeras.evaluation.suites.ensemble import SCREEN

VERSION = "estimate"
ROUND = "round"
"""The entry of the settings that tells how many steps a slice has done."""
_CODES = ("estimate", "estimate-unfinished")


def is_estimate(report):
    """Tell whether a report is of an evaluation that estimates."""
    return report.settings.get("version") == VERSION


def concluded(report, steps=()):
    """Return the report of all examples with its estimate, or with the plan of the next round.

    Args:
        report: `Report` of an evaluation that estimates.
        steps: tuple of the `Step`s that its slices have done.

    Returns:
        `Report`.
    """
    parts = report.seed, report.indices, report.flags, report.margins, report.passes
    settings = report.settings
    question = Question(precision=settings["precision"], confidence=settings["confidence"])
    if settings["epsilon"] == 0:
        outcome = _clean_accuracy(report, question)
    else:
        outcome = decide(evidence_of(*parts), question)
    kept = {name: value for name, value in settings.items() if name != ROUND}
    findings = [finding for finding in report.findings if finding.code not in _CODES]
    if isinstance(outcome, Estimate):
        finding = Finding(
            "estimate",
            "info",
            f"{outcome.sentence[0].upper()}{outcome.sentence[1:]}, at {100 * outcome.cost:.0f} % of "
            f"its forward passes. {report.robust:.4f} is what was verified, an upper bound.",
        )
        return dataclasses.replace(
            report, settings=kept, estimate=outcome, plan=None, findings=(*findings, finding)
        )
    finding = Finding(
        "estimate-unfinished",
        "warning",
        f"After {len(steps)} rounds the estimate needs {len(outcome.index)} more examples: call each "
        "slice again with this report as its plan and its own directory of finished work.",
    )
    return dataclasses.replace(
        report, settings=kept, plan=(*steps, outcome), findings=(*findings, finding)
    )


def unfinished(report, steps):
    """Return a slice's report, which tells the steps that it has done."""
    settings = {**report.settings, ROUND: len(steps)}
    finding = Finding(
        "estimate-unfinished",
        "warning",
        "This is one slice of an estimate, which only all slices together give: join them with merge.",
    )
    return dataclasses.replace(
        report, settings=settings, plan=steps, findings=(*report.findings, finding)
    )


def checked_steps(plan, resume_from, numbers, classifier, seed, note):
    """Return the steps that a slice is to do, or refuse a plan that is not of this evaluation.

    Args:
        plan: `Report` of the round before with its `plan`, or None in the first round.
        resume_from: directory of finished work, which later rounds go on from.
        numbers: `(n,)` ints, the numbers of the examples of all slices.
        classifier: `Classifier`.
        seed: int.
        note: dict of the settings that the rounds must have in common.

    Returns:
        Tuple of `Step`s.

    Raises:
        ValueError: if there is no directory, the plan is none, or it is of another evaluation.
    """
    if resume_from is None:
        raise ValueError(
            "A slice of an estimate is called once for each round and goes on from the work of the "
            "round before: `resume_from` must be a directory of its own. Received: resume_from=None"
        )
    if plan is None:
        return (Step(SCREEN[:1], numbers),)
    steps = plan.plan if isinstance(plan, Report) else None
    if steps is None:
        raise ValueError(
            "`plan` must be the report into which `merge` joined the slices of the round before, while "
            f"it has no estimate yet. Received: plan={plan!r}"
        )
    mine = {**note, "seed": seed, "weights_sha256": weights_digest(classifier.network)}
    theirs = {name: plan.settings.get(name) for name in mine} | {"seed": plan.seed}
    differing = [name for name in mine if mine[name] != theirs[name]]
    if not np.array_equal(np.sort(numbers), np.sort(plan.indices)):
        differing.append("the examples' numbers")
    if differing:
        raise ValueError(
            f"`plan` must be of this evaluation, and differs in: {', '.join(differing)}. "
            f"Received: {theirs} there, {mine} here"
        )
    return steps


def _clean_accuracy(report, question):
    """Return the estimate of an empty ball, where nothing is left to be estimated."""
    survivors = int(np.sum(report.flags["clean"]))
    return Estimate(
        value=report.clean,
        low=report.clean,
        high=report.clean,
        confidence=question.confidence,
        precision=question.precision,
        survivors=survivors,
        census=survivors,
        audited=0,
        broken_in_census=0,
        broken_in_audit=0,
        cost=1.0,
    )
