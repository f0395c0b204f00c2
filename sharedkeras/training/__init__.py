"""Training: the trainer that wraps a network, schedules, callbacks, checkpoints, whole runs."""

from sharedkeras.training.averaging import WeightAverage
from sharedkeras.training.curriculum import Curriculum
from sharedkeras.training.distribution import data_parallel, part
from sharedkeras.training.divergence import DivergedError
from sharedkeras.training.learning_rates import OneCycle, StepDecay
from sharedkeras.training.run import Run, estimate_seconds, fit
from sharedkeras.training.schedules import ExponentialRamp
from sharedkeras.training.trainer import RobustTrainer

__all__ = [
    "Curriculum",
    "DivergedError",
    "ExponentialRamp",
    "OneCycle",
    "RobustTrainer",
    "Run",
    "StepDecay",
    "WeightAverage",
    "data_parallel",
    "estimate_seconds",
    "fit",
    "part",
]
