"""Watches how much the stochastic layers can tell of the images."""

import math

import keras
import numpy as np
from keras import ops

from sharedkeras.layers import GaussianStochastic
from sharedkeras.training.callbacks import cut_short

_YOUNG = 200
"""Updates in which a network may know too little without having collapsed."""


class WatchLatent(keras.callbacks.Callback):
    """Log after each epoch how much the stochastic layers can tell of the images; name a collapse.

    The divergence of equation 16 is smallest where p(z|x) is the same for all x, and if its weight is
    too large too early the network goes there, and accuracy with it. Then the latent holds less than the
    log K nats that it takes to tell K classes apart. Adds `latent_nats` to the epoch's log, the
    `most_information` of the layer that has the least.

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

    def on_epoch_end(self, epoch, logs=None):
        """Measure, log, and tell once."""
        if cut_short(self.model):
            return
        layers = {layer.name: layer for layer in self.model.network.layers}
        watched = [tap for tap in self.taps if isinstance(layers[tap], GaussianStochastic)]
        if not watched:
            return
        outputs = self.model({"clean": self.x}, training=False)["clean"]
        found = min(most_information(*outputs[tap][1:]) for tap in watched)
        logs["latent_nats"] = found
        classes, updates = self.model.num_classes, int(ops.convert_to_numpy(self.model.update.value))
        if updates < _YOUNG or self._is_told or found >= math.log(classes):
            return
        self._is_told = True
        self.tell(
            "latent-collapse",
            f"After epoch {epoch + 1} the latent tells at most {found:.2f} nats of an image; to tell "
            f"{classes} classes apart takes {math.log(classes):.2f}: the representation has collapsed. "
            "Lower beta, or let it rise later.",
        )


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
