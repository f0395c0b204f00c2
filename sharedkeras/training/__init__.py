"""Training: the trainer that wraps a network, schedules, callbacks, checkpoints."""

from sharedkeras.training.schedules import ExponentialRamp, StepDecay
from sharedkeras.training.trainer import RobustTrainer

__all__ = ["ExponentialRamp", "RobustTrainer", "StepDecay"]
