"""The stochastic layer that parameterises p(z|x)."""

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.arguments import need_between, need_count, plain
from sharedkeras.math import random

_PARAMETERISATIONS = ("softplus", "log_variance")


@keras.saving.register_keras_serializable(package="sharedkeras")
class GaussianStochastic(keras.layers.Layer):
    """Maps features to a diagonal Gaussian and, in training, to a sample of it.

    One dense layer of `2 * units` outputs is split into a mean and a raw scale. In training the latent
    is a reparameterised sample, otherwise the mean, so that a trained network is deterministic.

        mean, raw = split(W h + b),  scale = softplus(raw + shift) + floor
        z = mean + scale * noise in training,  z = mean otherwise

    `shift` makes the scale small but not zero before training: at the default of -2.25 it is 0.1.
    With `parameterisation="log_variance"`, `scale = exp((raw + shift) / 2) + floor`.

    Args:
        units: int, latent dimensions, at least 1.
        shift: float added to the raw scale.
        floor: float at least 0, the smallest scale; bounds the divergences made of it.
        parameterisation: "softplus" or "log_variance".
        sample_at_inference: whether to sample outside training too. Such a network is random, and only
            an attack with expectation over transformations judges it.
        seed: int or `keras.random.SeedGenerator`.

    Call arguments:
        features: `(batch, d)` tensor.
        training: bool.

    Returns:
        `(z, mean, scale)`, each `(batch, units)`.

    Raises:
        ValueError: if `units`, `floor` or `parameterisation` is out of range.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        section 4.1; D. Kingma, M. Welling, "Auto-Encoding Variational Bayes", 2014.
    """

    def __init__(
        self,
        units,
        *,
        shift=-2.25,
        floor=1e-4,
        parameterisation="softplus",
        sample_at_inference=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        need_count(units=units)
        need_between(0, None, floor=floor)
        units, shift, floor, seed = map(plain, (units, shift, floor, seed))
        if parameterisation not in _PARAMETERISATIONS:
            raise ValueError(
                f"Unknown parameterisation; known are {list(_PARAMETERISATIONS)}. "
                f"Received: parameterisation={parameterisation!r}"
            )
        self.units = units
        self.shift = shift
        self.floor = floor
        self.parameterisation = parameterisation
        self.sample_at_inference = sample_at_inference
        self.seed = seed
        self.seed_generator = (
            seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
        )
        self.projection = keras.layers.Dense(
            2 * units,
            kernel_initializer="glorot_uniform",
            name="projection",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        """Create the dense layer's weights for features of the given width."""
        self.projection.build(input_shape)
        self.built = True

    def call(self, features, training=False):
        """Compute the latent, its mean and its scale."""
        mean, raw = ops.split(self.projection(features), 2, axis=-1)
        raw = raw + self.shift
        scale = ops.softplus(raw) if self.parameterisation == "softplus" else ops.exp(0.5 * raw)
        scale = scale + self.floor
        if not training and not self.sample_at_inference:
            return mean, mean, scale
        # Each row is drawn by its place in the whole batch, on however many replicas that is.
        key = ops.cast(self.seed_generator.next(), "uint32")
        count = ops.shape(mean)[0]
        row = backend.first_example(count) + ops.arange(count, dtype="int32")
        noise = random.normal(key, row, (self.units,), dtype=self.compute_dtype)
        return mean + scale * noise, mean, scale

    def compute_output_shape(self, input_shape):
        """Return the three shapes `(batch, units)`."""
        shape = (*input_shape[:-1], self.units)
        return shape, shape, shape

    def get_config(self):
        """Return the arguments that make an equal layer."""
        seed = None if isinstance(self.seed, keras.random.SeedGenerator) else self.seed
        return {
            **super().get_config(),
            "units": self.units,
            "shift": self.shift,
            "floor": self.floor,
            "parameterisation": self.parameterisation,
            "sample_at_inference": self.sample_at_inference,
            "seed": seed,
        }
