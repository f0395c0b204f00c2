"""What attacks see of a network."""

from sharedkeras.models.classifiers.callable import CallableClassifier, as_classifier
from sharedkeras.models.classifiers.classifier import Classifier
from sharedkeras.models.classifiers.frozen import FrozenClassifier

__all__ = ["CallableClassifier", "Classifier", "FrozenClassifier", "as_classifier"]
