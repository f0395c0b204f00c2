"""Robustness evaluation: attacks on a network, what is left of its accuracy, and how sure."""

from sharedkeras.evaluation import sanity
from sharedkeras.evaluation.autoattack import autoattack
from sharedkeras.evaluation.autoattack_on_ray import autoattack_on_ray
from sharedkeras.evaluation.black_box import black_box
from sharedkeras.evaluation.craft import craft
from sharedkeras.evaluation.evaluate import evaluate
from sharedkeras.evaluation.judging.provenance import versions, weights_digest
from sharedkeras.evaluation.merge import merge
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report
from sharedkeras.evaluation.stochastic import stochastic
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.evaluation.suites.named import named_attacks
from sharedkeras.evaluation.suites.paper import paper_attacks, paper_epsilon
from sharedkeras.evaluation.transfer import transfer

__all__ = [
    "Finding",
    "Report",
    "autoattack",
    "autoattack_on_ray",
    "black_box",
    "craft",
    "ensemble",
    "evaluate",
    "merge",
    "named_attacks",
    "paper_attacks",
    "paper_epsilon",
    "sanity",
    "stochastic",
    "transfer",
    "versions",
    "weights_digest",
]
