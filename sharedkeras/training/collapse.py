"""Watches how much the stochastic layers can tell of the images."""

import math

import keras
import numpy as np
from keras import ops

from sharedkeras.layers import GaussianStochastic
from sharedkeras.training.callbacks import cut_short

_YOUNG = 200
"""Updates in which a network that began with too little may know too little without having collapsed."""


class WatchLatent(keras.callbacks.Callback):
    """Log after each epoch how much the stochastic layers can tell of the images; name a collapse.

    The divergence of equation 16 is smallest where p(z|x) is the same for all x, and if its weight is
    too large too early the network goes there, and accuracy with it. Then the latent holds less than the
    log K nats that it takes to tell K classes apart. A network that begins with more and falls below has
    collapsed however young it is, as in a short run whose beta does not begin small. Adds `latent_nats`
    to the epoch's log, the `most_information` of the layer that has the least.

    Args:
        x: `(n, H, W, C)` images, n at least 2.
        taps: names of layers, of which the stochastic ones are watched.
        tell: `tell(code, message)`.
    """

    def __init__(self, x, taps, tell):
        super().__init__()
        self.x = x
        self.taps = taps
        self.tell = tell
        self._is_told = False
        self._begins_with = 0.0

    def on_train_begin(self, logs=None):
        """Measure what the network begins with."""
        self._begins_with = self._least_information() or 0.0

    def on_epoch_end(self, epoch, logs=None):
        """Measure, log, and tell once."""
        if cut_short(self.model):
            return
        found = self._least_information()
        if found is None:
            return
        logs["latent_nats"] = found
        classes, updates = self.model.num_classes, int(ops.convert_to_numpy(self.model.update.value))
        enough = math.log(classes)
        may_know_little = updates < _YOUNG and self._begins_with < enough
        if may_know_little or self._is_told or found >= enough:
            return
        self._is_told = True
        self.tell(
            "latent-collapse",
            f"After epoch {epoch + 1} the latent tells at most {found:.2f} nats of an image; to tell "
            f"{classes} classes apart takes {enough:.2f}: the representation has collapsed. "
            "Lower beta, or let it rise later.",
        )

    def _least_information(self):
        """Measure the layer that holds the least; None where no stochastic layer is watched."""
        layers = {layer.name: layer for layer in self.model.network.layers}
        watched = [tap for tap in self.taps if isinstance(layers[tap], GaussianStochastic)]
        if not watched:
            return None
        outputs = self.model({"clean": self.x}, training=False)["clean"]
        return min(most_information(*outputs[tap][1:]) for tap in watched)


def most_information(mean, scale):
    """Bound the mutual information of images and their Gaussian latent from above.

    No variable of a given variance has a larger entropy than a Gaussian, so that

        I(x; z) <= 1/2 sum_d (log(Var_x mean_d + E_x scale_d^2) - E_x log scale_d^2)

    Args:
        mean: `(n, d)` tensor, of n images.
        scale: `(n, d)` tensor, above 0.

    Returns:
        Float, nats, at least 0 up to rounding; 0 where the latent is the same for all images.

    Reference: T. Cover, J. Thomas, "Elements of Information Theory", 2006, theorem 8.6.5.
    """
    mean = ops.convert_to_numpy(mean).astype("float64")
    square = ops.convert_to_numpy(scale).astype("float64") ** 2
    whole = np.log(np.var(mean, axis=0) + np.mean(square, axis=0))
    return float(0.5 * np.sum(whole - np.mean(np.log(square), axis=0)))
