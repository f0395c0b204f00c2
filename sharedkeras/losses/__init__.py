"""Losses: pure functions, logits in, one value for each example out.

Measures of dependence (`hsic`, `mige`, the layer `MINE`) give one value for the batch.
"""

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
from sharedkeras.losses.mige import mige
from sharedkeras.losses.mine import MINE
from sharedkeras.losses.registry import get, names

__all__ = [
    "MINE",
    "boosted_cross_entropy",
    "cross_entropy",
    "dlr",
    "dlr_targeted",
    "get",
    "hsic",
    "kl_categorical",
    "log_complement",
    "margin",
    "mige",
    "names",
    "soft_margin",
    "symmetrised_kl_categorical",
    "symmetrised_kl_gaussian",
]
