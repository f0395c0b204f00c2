"""Training: the trainer that wraps a network, schedules, callbacks, checkpoints, whole runs."""

from sharedkeras.training.divergence import DivergedError
from sharedkeras.training.run import Run, estimate_seconds, fit
from sharedkeras.training.schedules import ExponentialRamp, StepDecay
from sharedkeras.training.trainer import RobustTrainer

__all__ = [
    "DivergedError",
    "ExponentialRamp",
    "RobustTrainer",
    "Run",
    "StepDecay",
    "estimate_seconds",
    "fit",
]
