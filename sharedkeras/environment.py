"""What frameworks read from the environment when they are loaded."""

import os
import sys

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def set_defaults():
    """Turn oneDNN on for TensorFlow, unless the user has set its variable or TensorFlow is loaded.

    TensorFlow leaves it off on CPUs without AVX512-VNNI, where input gradients then take about twice
    as long. It reads the variable once, when it is loaded.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault(ONEDNN, "1")
