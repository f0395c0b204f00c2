"""What a report says about where its numbers come from."""

import hashlib
import platform

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.evaluation.judging.architecture import architecture_digest
from sharedkeras.evaluation.judging.identity import digest_of_array
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


def fingerprint(classifier, examples, seed):
    """Return what the verdicts depend on besides the attacks, part by part.

    Args:
        classifier: `Classifier`; of one without gradients only a file's digest is known.
        examples: `Examples`.
        seed: int.

    Returns:
        Dict from the name of a part to a digest or another JSON value.
    """
    return {
        "version of sharedkeras": __version__,
        "images": digest_of_array(examples.x),
        "labels": digest_of_array(examples.y),
        "numbers of the examples": digest_of_array(examples.index),
        "seed": seed,
        **computes(classifier),
    }


def computes(classifier):
    """Return what a classifier computes, part by part, as far as it can be told.

    Args:
        classifier: `Classifier`; of one without gradients only a file's digest is known.

    Returns:
        Dict from the name of a part to a digest, a str, an int or None.
    """
    if not classifier.white_box:
        # Of a `Classifier` of the user's own, too, where it tells.
        parts = {"file": getattr(classifier, "sha256", None)}
    else:
        parts = {
            "weights": weights_digest(classifier.network),
            "architecture": architecture_digest(classifier.network),
            "select": classifier.select,
        }
    return {**dict.fromkeys(("weights", "architecture", "select", "file")), **parts}
