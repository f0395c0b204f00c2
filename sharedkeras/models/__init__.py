"""Networks: plain functional Keras models, images in [0, 1] in, logits out."""

from sharedkeras.models.build import build, latent_dim_of, names
from sharedkeras.models.classifiers.callable import CallableClassifier, as_classifier
from sharedkeras.models.classifiers.classifier import Classifier
from sharedkeras.models.classifiers.frozen import FrozenClassifier
from sharedkeras.models.cnn import cnn
from sharedkeras.models.computing_in import computing_in
from sharedkeras.models.count_parameters import count_parameters
from sharedkeras.models.in_full_precision import in_full_precision
from sharedkeras.models.load_network import load_network
from sharedkeras.models.logits_of import logits_of
from sharedkeras.models.preact_resnet import preact_resnet18
from sharedkeras.models.resnet import resnet18, resnet50
from sharedkeras.models.round_weights import round_weights
from sharedkeras.models.take_weights import take_weights
from sharedkeras.models.vgg import vgg16
from sharedkeras.models.wide_resnet import wide_resnet
from sharedkeras.models.with_latent import with_latent

__all__ = [
    "CallableClassifier",
    "Classifier",
    "FrozenClassifier",
    "as_classifier",
    "build",
    "cnn",
    "computing_in",
    "count_parameters",
    "in_full_precision",
    "latent_dim_of",
    "load_network",
    "logits_of",
    "names",
    "preact_resnet18",
    "resnet18",
    "resnet50",
    "round_weights",
    "take_weights",
    "vgg16",
    "wide_resnet",
    "with_latent",
]
