"""The average of a network's weights along its training."""

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.models import in_full_precision


def warmed_decay(updates, limit):
    """Compute the decay of a moving average that has seen few updates.

    A fixed decay near 1 keeps the untrained weights in the average for thousands of updates. Warmed, the
    average covers about the last tenth of the updates until the limit is reached.

        d = min(limit, (1 + t) / (10 + t))

    Args:
        updates: scalar tensor t, updates done, at least 1.
        limit: float in (0, 1).

    Returns:
        Scalar tensor.
    """
    t = ops.cast(updates, keras.config.floatx())
    return ops.minimum(limit, (1.0 + t) / (10.0 + t))


class WeightAverage:
    """An exponential moving average of a network's trainable weights, and the network that has them.

    The average of adversarially trained weights is several points more robust than the last weights.
    What BatchNorm saw belongs to the raw weights, so the averaged network's statistics are estimated
    anew before it is judged or saved; an average of the statistics would be wrong for as long as the
    weights move fast.

    Args:
        network: `keras.Model` that is trained.
        decay: float in (0, 1), the limit of the warmed decay.

    Attributes:
        network: `keras.Model`, a twin that computes in full precision, with the averaged weights of the
            last `settle`.
        variables: list of the averages, Keras variables, to be kept in checkpoints.

    Raises:
        ValueError: if the decay is out of range.

    Reference: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    def __init__(self, network, decay):
        if not 0 < decay < 1:
            raise ValueError(f"`ema_decay` must be in (0, 1). Received: ema_decay={decay}")
        self.decay = decay
        self.network = keras.models.clone_model(in_full_precision(network))
        self.variables = [
            keras.Variable(_copied(v), dtype=v.dtype, trainable=False, name=f"average_{i}")
            for i, v in enumerate(network.trainable_variables)
        ]
        self._raw = network
        self._statistics = None

    def update(self, updates):
        """Move the averages towards the weights; runs inside the train step's graph.

        Args:
            updates: scalar tensor, updates done, this one included.
        """
        share = 1.0 - warmed_decay(updates, self.decay)
        for average, variable in zip(self.variables, self._raw.trainable_variables, strict=True):
            average.assign(average + ops.cast(share, average.dtype) * (variable - average))

    def settle(self, batches):
        """Give the twin the averages, and BatchNorm statistics estimated anew.

        Args:
            batches: iterable of `(batch, H, W, C)` training images, of one shape; read only where the
                network normalises batches.
        """
        for variable, value in zip(self.network.trainable_variables, self.variables, strict=True):
            variable.assign(_copied(value))
        for variable, value in zip(
            self.network.non_trainable_variables, self._raw.non_trainable_variables, strict=True
        ):
            variable.assign(_copied(value))
        self._estimate(batches)

    def _estimate(self, batches):
        scales = _batch_norm_scales(self.network)
        if not scales:
            return
        if self._statistics is None:
            self._statistics = backend.compile(self._after_one_batch)
        parameters = [ops.convert_to_tensor(v) for v in self.network.trainable_variables]
        variables = self.network.non_trainable_variables
        # From zero, one batch leaves (1 - momentum) times its own statistics.
        state = [
            ops.zeros(v.shape, v.dtype) if id(v) in scales else ops.convert_to_tensor(v)
            for v in variables
        ]
        total, count = None, 0
        for x in batches:
            after = self._statistics(parameters, state, ops.convert_to_tensor(x))
            after = [ops.convert_to_numpy(v).astype("float64") for v in after]
            total = after if total is None else [a + b for a, b in zip(total, after, strict=True)]
            count += 1
        for variable, value in zip(variables, total, strict=True):
            if id(variable) in scales:
                variable.assign(np.asarray(value / count / scales[id(variable)], "float32"))

    def _after_one_batch(self, parameters, state, x):
        return self.network.stateless_call(parameters, state, x, training=True)[1]


def _copied(variable):
    # JAX's train step gives its arrays' memory away, so no other variable may share it.
    return np.array(ops.convert_to_numpy(variable))


def _batch_norm_scales(network):
    """Map the identity of each BatchNorm statistic to 1 - momentum of its layer."""
    scales = {}
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.moving_mean, layer.moving_variance):
                scales[id(variable)] = 1.0 - layer.momentum
    return scales
