"""Which of a view's outputs the shared-information objective compares, by name."""

import dataclasses

from keras import ops

from sharedkeras.losses import symmetrised_kl_categorical, symmetrised_kl_gaussian


@dataclasses.dataclass(frozen=True)
class Latent:
    """The Gaussian p(z|x) of the stochastic layer; its sample is the representation.

    Args:
        layer: str, name of the `GaussianStochastic` layer.
    """

    layer: str

    @property
    def taps(self):
        """The layer whose `(z, mean, scale)` is read."""
        return (self.layer,)

    def divergence(self, one, two):
        """Compute the symmetrised divergence of two views, `(batch,)`."""
        return symmetrised_kl_gaussian(*one[self.layer][1:], *two[self.layer][1:])

    def representation(self, view):
        """Return the sample z, `(batch, d)`."""
        return view[self.layer][0]

    def shape(self, shapes):
        """Return the representation's shape, given those of a view's outputs."""
        return shapes[self.layer][0]


@dataclasses.dataclass(frozen=True)
class Softmax:
    """The probabilities p(y|x), which need no stochastic layer."""

    taps = ()

    def divergence(self, one, two):
        """Compute the symmetrised divergence of two views, `(batch,)`."""
        return symmetrised_kl_categorical(one["logits"], two["logits"])

    def representation(self, view):
        """Return the probabilities, `(batch, K)`."""
        return ops.softmax(view["logits"], axis=-1)

    def shape(self, shapes):
        """Return the representation's shape, given those of a view's outputs."""
        return shapes["logits"]


_LOCATIONS = {"softmax": lambda objective: Softmax(), "z": lambda objective: Latent(objective.layer)}


def names():
    """List the names that `get` knows."""
    return sorted(_LOCATIONS)


def get(name):
    """Find what makes a location.

    Args:
        name: one of `names()`.

    Returns:
        `make(objective)`, which returns a `Latent` or a `Softmax`.

    Raises:
        ValueError: if there is no such location.
    """
    if name not in _LOCATIONS:
        raise ValueError(f"Unknown location; known are {names()}. Received: location={name!r}")
    return _LOCATIONS[name]
