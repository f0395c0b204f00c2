"""Networks by name."""

import functools
import re

from sharedkeras.arguments import need_count, plain
from sharedkeras.models.cnn import cnn
from sharedkeras.models.own_network import own_network
from sharedkeras.models.preact_resnet import preact_resnet18
from sharedkeras.models.resnet import resnet18, resnet50
from sharedkeras.models.vgg import vgg16
from sharedkeras.models.wide_resnet import wide_resnet

_BUILDERS = {
    "cnn": cnn,
    "preact-resnet18": preact_resnet18,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}
_LATENT_DIMS = {"cnn": 128, "preact-resnet18": 256, "resnet18": 256, "resnet50": 256, "vgg16": 256}
_WIDE_LATENT_DIM = 320
_WIDE = re.compile(r"wrn-(\d+)-(\d+)")
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_OWN_LATENT_DIM = 256
_THIN = re.compile(r"(resnet18|resnet50)-w(\d+)")


def names():
    """List the names that `build` knows; those with `<depth>` or `<width>` stand for families."""
    return [*sorted(_BUILDERS), "resnet18-w<width>", "wrn-34-10", "wrn-<depth>-<width>"]


def _builder(name):
    if name in _BUILDERS:
        return _BUILDERS[name]
    if match := _WIDE.fullmatch(str(name)):
        return functools.partial(wide_resnet, int(match[1]), int(match[2]))
    if match := _THIN.fullmatch(str(name)):
        return functools.partial(_BUILDERS[match[1]], width=int(match[2]))
    if _OWN.fullmatch(str(name)):
        return functools.partial(own_network, str(name))
    raise ValueError(
        f"Unknown network; known are {names()}, and module:function for one of your own. "
        f"Received: name={name!r}"
    )


def latent_dim_of(name):
    """Return the size of the stochastic layer that the paper gives this network (section 4.1).

    The paper's ResNet-50 is a surrogate without one; trained with one, it and what the paper does not
    train get that of ResNet-18.
    """
    _builder(name)
    if _OWN.fullmatch(str(name)):
        return _OWN_LATENT_DIM
    thin = _THIN.fullmatch(str(name))
    return _LATENT_DIMS.get(thin[1] if thin else name, _WIDE_LATENT_DIM)


def build(name, *, input_shape, num_classes, latent_dim=None, **options):
    """Build a network by name.

    Args:
        name: one of `names()`: "cnn", "preact-resnet18", "resnet18", "resnet50", "vgg16", "wrn-34-10";
            any "wrn-<depth>-<width>",
            "resnet18-w<width>" or "resnet50-w<width>", of which "resnet18" has width 64; or
            `module:function`, a function of one's own that takes `input_shape` and `num_classes`.
        input_shape: tuple `(H, W, C)` of ints.
        num_classes: int, at least 2.
        latent_dim: int, units of the Gaussian stochastic layer before the last dense layer, or None for
            a network without one.
        **options: further arguments of the network's own function, such as `latent_options`.

    Returns:
        `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, num_classes)` logits. The
        stochastic layer is called "latent", the layer before it "features".

    Raises:
        ValueError: if the name is unknown or a size out of range.
    """
    builder = _builder(name)
    shape = tuple(map(plain, input_shape))
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(
            f"`input_shape` must be (height, width, channels). Received: input_shape={input_shape}"
        )
    need_count(2, num_classes=num_classes)
    if latent_dim is not None:
        need_count(latent_dim=latent_dim)
    return builder(
        input_shape=shape,
        num_classes=plain(num_classes),
        latent_dim=plain(latent_dim),
        **options,
    )
