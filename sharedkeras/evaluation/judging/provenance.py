"""What a report says about where its numbers come from."""

import hashlib
import platform

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.version import __version__


def versions():
    """Return the versions of whatever can change a number."""
    return {
        "sharedkeras": __version__,
        "keras": keras.__version__,
        "backend": backend.version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def weights_digest(network):
    """Compute the SHA-256 of a network's weights, by which a report says what it judged.

    Args:
        network: `keras.Model`; the state of its random generators does not count.

    Returns:
        Hexadecimal str.
    """
    digest = hashlib.sha256()
    for value in network.weights:
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(value)).tobytes())
    return digest.hexdigest()


def fingerprint(classifier, x, y, index, attacks, seed, cascade):
    """Compute one string from all that the verdicts depend on, by which a journal knows its evaluation.

    Args:
        classifier: `Classifier`; of one without gradients nothing can be known.
        x: `(n, H, W, C)` array.
        y: `(n,)` ints.
        index: `(n,)` ints.
        attacks: dict from name to attack.
        seed: int.
        cascade: bool.

    Returns:
        Hexadecimal str.
    """
    weights = weights_digest(classifier.network) if classifier.white_box else None
    digest = hashlib.sha256()
    for array in (x, y, index):
        digest.update(np.ascontiguousarray(array).tobytes())
    text = repr((weights, list(attacks.items()), seed, cascade, x.shape))
    digest.update(text.encode())
    return digest.hexdigest()
