"""What one check of an evaluation noticed."""

from typing import NamedTuple

_SEVERITIES = ("info", "warning", "error")


class Finding(NamedTuple):
    """What one check of an evaluation noticed.

    Args:
        code: short stable name of the check, such as `"zero-gradient"`.
        severity: `"info"`, `"warning"` or `"error"`.
        message: a whole sentence for a reader who does not know the check.
    """

    code: str
    severity: str
    message: str


def _checked_finding(finding):
    finding = Finding(*finding)
    if finding.severity not in _SEVERITIES:
        raise ValueError(
            f"A finding's severity must be one of {_SEVERITIES}. "
            f"Received: severity={finding.severity!r} of finding {finding.code!r}"
        )
    return finding
