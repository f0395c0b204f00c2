"""Networks: plain functional Keras models, images in [0, 1] in, logits out."""

from sharedkeras.models.build import build, names
from sharedkeras.models.cnn import cnn
from sharedkeras.models.frozen import FrozenClassifier
from sharedkeras.models.load_network import load_network
from sharedkeras.models.resnet import resnet18
from sharedkeras.models.wide_resnet import wide_resnet

__all__ = [
    "FrozenClassifier",
    "build",
    "cnn",
    "load_network",
    "names",
    "resnet18",
    "wide_resnet",
]
