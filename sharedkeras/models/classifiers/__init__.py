"""What attacks see of a network."""

from sharedkeras.models.classifiers.callable import CallableClassifier, as_classifier
from sharedkeras.models.classifiers.frozen import FrozenClassifier

__all__ = ["CallableClassifier", "FrozenClassifier", "as_classifier"]
