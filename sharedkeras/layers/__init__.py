"""Layers of our own."""

from sharedkeras.layers.gaussian_stochastic import GaussianStochastic

__all__ = ["GaussianStochastic"]
