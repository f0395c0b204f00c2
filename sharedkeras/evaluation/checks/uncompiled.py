"""Passes of a network outside of any graph, as its users call it."""

import keras
import numpy as np
from keras import ops

_IMAGES = 4
"""A random layer shows on any image; the passes run one operation at a time, which is slow."""


def uncompiled_passes(classifier, x):
    """Call a network twice on the same few images, and leave its random generators as they were.

    Args:
        classifier: `FrozenClassifier`.
        x: `(n, H, W, C)` images.

    Returns:
        Two `(n, K)` float64 arrays of logits, of a few of the images.
    """
    network = classifier.network
    if classifier.output is not None:
        network = keras.Model(classifier.unfolded.inputs, classifier.output)
    x = ops.convert_to_tensor(x[:_IMAGES])
    generators = [v for v in network.non_trainable_variables if "seed_generator" in v.path]
    kept = [ops.convert_to_numpy(v) for v in generators]
    try:
        return [_logits(network(x, training=False)) for _ in range(2)]
    finally:
        for variable, value in zip(generators, kept, strict=True):
            variable.assign(value)


def _logits(outputs):
    # Of a network whose graph is not known all outputs are compared, the one that is judged among them.
    parts = [ops.convert_to_numpy(ops.cast(t, "float32")) for t in keras.tree.flatten(outputs)]
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1).astype("float64")
