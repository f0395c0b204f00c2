"""Losses: pure functions, logits in, one value for each example out (HSIC: one for the batch)."""

from sharedkeras.losses.cross_entropy import cross_entropy
from sharedkeras.losses.divergence import (
    kl_categorical,
    symmetrised_kl_categorical,
    symmetrised_kl_gaussian,
)
from sharedkeras.losses.hsic import hsic
from sharedkeras.losses.margin import (
    boosted_cross_entropy,
    dlr,
    dlr_targeted,
    log_complement,
    margin,
    soft_margin,
)
from sharedkeras.losses.registry import get, names

__all__ = [
    "boosted_cross_entropy",
    "cross_entropy",
    "dlr",
    "dlr_targeted",
    "get",
    "hsic",
    "kl_categorical",
    "log_complement",
    "margin",
    "names",
    "soft_margin",
    "symmetrised_kl_categorical",
    "symmetrised_kl_gaussian",
]
