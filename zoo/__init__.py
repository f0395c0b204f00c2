"""Pretrained robust networks, each with a card that carries its evidence.

import zoo
network = zoo.load("mnist-cnn-shared")  # images in [0, 1] in, logits out
"""

from zoo.cards_index import card, names
from zoo.loading import find, load
from zoo.verification import verify

__all__ = ["card", "find", "load", "names", "verify"]
