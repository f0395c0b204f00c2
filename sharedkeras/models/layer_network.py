"""Networks made of one layer."""

import keras


class LayerNetwork(keras.Model):
    """A network that is one layer, such as a `keras.layers.TFSMLayer` around a SavedModel.

    A layer does not tell the shape of its images, so that this is a network whose graph is not known.

    Args:
        layer: built `keras.layers.Layer` from images in [0, 1] to logits.

    Raises:
        ValueError: if it is not built.
    """

    def __init__(self, layer):
        if not layer.built:
            raise ValueError(
                "`network` must be built: call the layer on images once, or put it behind keras.Input "
                f"in a keras.Sequential. Received: the layer {layer.name!r}, which has no weights yet"
            )
        super().__init__(name=layer.name)
        self.layer = layer
        self.built = True

    def call(self, x):
        """Compute the logits."""
        return self.layer(x)
