"""Images and labels: loading, checking, batching, augmenting."""

from sharedkeras.data.batches import Batches
from sharedkeras.data.check_images import check_images
from sharedkeras.data.check_labels import check_labels
from sharedkeras.data.crop_and_flip import CropAndFlip
from sharedkeras.data.dataset import Dataset
from sharedkeras.data.info import DatasetInfo, info, names
from sharedkeras.data.load import load
from sharedkeras.data.subset import subset

__all__ = [
    "Batches",
    "CropAndFlip",
    "Dataset",
    "DatasetInfo",
    "check_images",
    "check_labels",
    "info",
    "load",
    "names",
    "subset",
]
