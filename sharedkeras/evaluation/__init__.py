"""Robustness evaluation: attacks on a network, what is left of its accuracy, and how sure."""

from sharedkeras.evaluation import sanity
from sharedkeras.evaluation.autoattack import autoattack
from sharedkeras.evaluation.autoattack_on_ray import autoattack_on_ray
from sharedkeras.evaluation.black_box import black_box
from sharedkeras.evaluation.checks.upper_bound import bounded_above
from sharedkeras.evaluation.craft import craft
from sharedkeras.evaluation.evaluate import evaluate
from sharedkeras.evaluation.judging.provenance import versions, weights_digest
from sharedkeras.evaluation.merge import merge
from sharedkeras.evaluation.report.comparison import comparison_page
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.keeping import report_name
from sharedkeras.evaluation.report.report import Report
from sharedkeras.evaluation.report.save_adversarial import save_adversarial
from sharedkeras.evaluation.report.text import text_table
from sharedkeras.evaluation.stochastic import stochastic
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.evaluation.suites.named import named_attacks
from sharedkeras.evaluation.suites.paper import default_epsilon, paper_attacks, paper_epsilon
from sharedkeras.evaluation.transfer import transfer

__all__ = [
    "Finding",
    "Report",
    "autoattack",
    "autoattack_on_ray",
    "black_box",
    "bounded_above",
    "comparison_page",
    "craft",
    "default_epsilon",
    "ensemble",
    "evaluate",
    "merge",
    "named_attacks",
    "paper_attacks",
    "paper_epsilon",
    "report_name",
    "sanity",
    "save_adversarial",
    "stochastic",
    "text_table",
    "transfer",
    "versions",
    "weights_digest",
]
