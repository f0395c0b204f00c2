"""Passes of a network outside of any graph, as its users call it."""

from keras import ops

from sharedkeras.models.classifiers.functional import inference
from sharedkeras.models.classifiers.outputs import pick

_IMAGES = 4
"""A random layer shows on any image; the passes run one operation at a time, which is slow."""


def uncompiled_passes(classifier, x):
    """Call a network twice on the same few images, and leave its random generators as they were.

    Args:
        classifier: `FrozenClassifier`.
        x: `(n, H, W, C)` images.

    Returns:
        Two `(n, K)` float32 arrays of logits, of a few of the images.
    """
    network = classifier.unfolded
    x = ops.convert_to_tensor(x[:_IMAGES])
    generators = [v for v in network.non_trainable_variables if "seed_generator" in v.path]
    kept = [ops.convert_to_numpy(v) for v in generators]
    try:
        passes = [pick(network(x, **inference(network)), classifier.select) for _ in range(2)]
    finally:
        for variable, value in zip(generators, kept, strict=True):
            variable.assign(value)
    return [ops.convert_to_numpy(ops.cast(logits, "float32")) for logits in passes]
