"""A report's finding that its robust accuracy is an upper bound."""

import dataclasses

from sharedkeras.evaluation.report.finding import Finding

_CODE = "upper-bound"


def bounded_above(report, reason):
    """Add the warning that stronger attacks may leave less, in place of an earlier one.

    Args:
        report: `Report`.
        reason: str, what was run and what was not; a whole sentence.

    Returns:
        `Report` with one finding "upper-bound", a warning, so that its verdict is "doubtful" at best.
    """
    others = [finding for finding in report.findings if finding.code != _CODE]
    message = f"{reason} The robust accuracy is an upper bound."
    findings = (Finding(_CODE, "warning", message), *others)
    return dataclasses.replace(report, findings=findings)
