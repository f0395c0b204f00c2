"""Objectives: what the network must see in training, and how to score what came out."""

from sharedkeras.objectives.objective import Objective, at_epoch
from sharedkeras.objectives.registry import get, names, register
from sharedkeras.objectives.shared_information import SharedInformation
from sharedkeras.objectives.standard import Standard

__all__ = ["Objective", "SharedInformation", "Standard", "at_epoch", "get", "names", "register"]
