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


def checked_finding(finding):
    """Return a `Finding`, or raise a ValueError that says what is wrong with it."""
    finding = Finding(*finding)
    if not all(isinstance(part, str) for part in finding):
        raise ValueError(
            f"A finding's code, severity and message must be str. Received: finding={tuple(finding)!r}"
        )
    if finding.severity not in _SEVERITIES:
        raise ValueError(
            f"A finding's severity must be one of {_SEVERITIES}. "
            f"Received: severity={finding.severity!r} of finding {finding.code!r}"
        )
    return finding
