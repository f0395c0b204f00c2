"""The mutual information by a network that is trained to tell pairs from strangers."""

import math

import keras
from keras import ops

from sharedkeras.losses.precision import in_full

_LARGEST = 80  # exp(88) is the largest in float32.


_SMALLEST = 1e-6  # Keeps the division defined where all samples coincide.


@keras.saving.register_keras_serializable(package="sharedkeras")
class MINE(keras.layers.Layer):
    """Bounds the mutual information of two variables from below; the bound rises as the layer learns.

    A small network T sees two samples side by side. It learns to score those that belong together above
    those that do not, and the gap is a bound by Donsker and Varadhan:

        I(x; y) >= E_pairs[T(x, y)] - log E_strangers[exp T(x, y')]                 (equation 18)

    Strangers are made by giving each sample its neighbour's partner. The gradient of the logarithm of a
    mean over one batch is biased. In training the mean in its denominator is therefore a moving average,
    the layer's only state beside T; the value is that of the batch.

    Where x and y determine each other, no finite T reaches the mutual information, and T would grow
    until training diverges. It is therefore T = r / (1 + |r| / limit) of the network's output r. At 5,
    exp T of one stranger weighs as much as all others of a batch of 128 together; beyond that the bound
    of a batch is chance.

    x and y are centred and divided by their root mean square over the batch, which changes no mutual
    information and makes T learn alike whatever the scale of a representation. No gradient flows through
    these two numbers.

    Args:
        units: tuple of ints, widths of the hidden layers, each with ReLU.
        limit: float in (0, 80], bound of T.
        rate: float in (0, 1], share of the newest batch in the moving average; 1 keeps the biased
            gradient.

    Call arguments:
        x: `(m, d)` tensor; further axes are flattened.
        y: `(m, e)` tensor of as many samples.
        training: bool.

    Returns:
        Scalar tensor, one for the batch.

    Raises:
        ValueError: if `limit` or `rate` is out of range.

    Reference: M. Belghazi et al., "Mutual information neural estimation", 2018.
    """

    def __init__(self, *, units=(512, 512), limit=5.0, rate=0.01, **options):
        # Whatever the policy of the network that is trained.
        super().__init__(**{"dtype": keras.config.floatx(), **options})
        if not 0 < limit <= _LARGEST:
            raise ValueError(f"`limit` must be in (0, {_LARGEST}]. Received: limit={limit}")
        if not 0 < rate <= 1:
            raise ValueError(f"`rate` must be in (0, 1]. Received: rate={rate}")
        self.units = tuple(units)
        self.limit = limit
        self.rate = rate
        dtype = self.dtype_policy
        self.hidden = [keras.layers.Dense(n, activation="relu", dtype=dtype) for n in self.units]
        self.last = keras.layers.Dense(1, dtype=dtype)

    def build(self, x_shape, y_shape):
        """Create the network's weights for samples of the given shapes."""
        width = math.prod(x_shape[1:]) + math.prod(y_shape[1:])
        inputs = (width, *self.units)
        for layer, size in zip((*self.hidden, self.last), inputs, strict=True):
            layer.build((None, size))
        # T is near 0 before the first update, and exp T near 1.
        self.mean = self.add_weight(
            shape=(), initializer="ones", trainable=False, aggregation="mean", name="mean"
        )
        self.built = True

    def call(self, x, y, training=False):
        """Compute the bound."""
        x, y = (_normalised(in_full(v)) for v in (x, y))
        count = ops.shape(x)[0]
        pairs = ops.concatenate([x, y], axis=1)
        strangers = ops.concatenate([x, ops.roll(y, 1, axis=0)], axis=1)
        scores = self._score(ops.concatenate([pairs, strangers], axis=0))
        size = ops.cast(count, scores.dtype)
        log_mean = ops.logsumexp(scores[count:]) - ops.log(size)
        if training:
            log_mean = self._corrected(log_mean)
        return ops.sum(scores[:count]) / size - log_mean

    def compute_output_shape(self, x_shape, y_shape):
        """Return the shape of a scalar."""
        return ()

    def get_config(self):
        """Return the arguments that make an equal layer."""
        config = {"units": self.units, "limit": self.limit, "rate": self.rate}
        return {**super().get_config(), **config}

    def _score(self, pairs):
        for layer in self.hidden:
            pairs = layer(pairs)
        raw = self.last(pairs)[:, 0]
        return raw / (1.0 + ops.abs(raw) / self.limit)

    def _corrected(self, log_mean):
        """Return the same value with the gradient of `mean / moving average`."""
        now = ops.stop_gradient(log_mean)
        average = (1.0 - self.rate) * self.mean + self.rate * ops.exp(now)
        self.mean.assign(average)
        return now + ops.exp(now) / average * (log_mean - now)


def _normalised(x):
    x = ops.reshape(x, (ops.shape(x)[0], -1))
    x = x - ops.stop_gradient(ops.mean(x, axis=0, keepdims=True))
    size = ops.sqrt(ops.mean(ops.square(ops.stop_gradient(x))))
    return x / ops.maximum(size, _SMALLEST)
