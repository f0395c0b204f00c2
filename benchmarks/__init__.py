"""Measurements of sharedkeras, each run by `python -m benchmarks.<kind>.<name>`."""

# Turns oneDNN on, which TensorFlow reads when it is loaded: the measurements import Keras first.
import sharedkeras  # noqa: F401
