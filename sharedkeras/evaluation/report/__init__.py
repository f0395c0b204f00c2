"""The outcome of an evaluation, as an object, JSON, text and HTML."""

from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report

__all__ = ["Finding", "Report"]
