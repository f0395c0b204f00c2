"""Objectives: what the network must see in training, and how to score what came out."""

from sharedkeras.objectives.gat import GAT
from sharedkeras.objectives.mart import MART
from sharedkeras.objectives.mma import MMA
from sharedkeras.objectives.mma_simplified import MMASimplified
from sharedkeras.objectives.objective import MakesQueries, Objective, SharesNoise, at_epoch
from sharedkeras.objectives.registry import get, names, register
from sharedkeras.objectives.shared_information import SharedInformation
from sharedkeras.objectives.standard import Standard
from sharedkeras.objectives.trades import TRADES

__all__ = [
    "GAT",
    "MART",
    "MMA",
    "TRADES",
    "MMASimplified",
    "MakesQueries",
    "Objective",
    "SharedInformation",
    "SharesNoise",
    "Standard",
    "at_epoch",
    "get",
    "names",
    "register",
]
