"""What a test cannot ask of every CPU, or of one that is told to hide what it can do."""

import os

import keras
import pytest

half_precision = pytest.mark.skipif(
    keras.config.backend() == "tensorflow" and "ONEDNN_MAX_CPU_ISA" in os.environ,
    reason="TensorFlow asks the CPU which half precisions oneDNN has, and crashes where it may not",
)
