"""Logits of many images."""

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.attacks.batching.sizes import bucket


def logits_of(classifier, x, batch_size):
    """Compute the logits of many images in padded batches.

    Args:
        classifier: `Classifier`.
        x: `(n, H, W, C)` array.
        batch_size: int.

    Returns:
        `(n, K)` array.
    """
    parts = []
    for start in range(0, len(x), batch_size):
        part = x[start : start + batch_size]
        padded = pad(part, bucket(len(part), batch_size))
        parts.append(ops.convert_to_numpy(classifier.predict(padded))[: len(part)])
    return np.concatenate(parts)
