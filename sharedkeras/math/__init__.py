"""Norms, kernels and counter-based random numbers."""
