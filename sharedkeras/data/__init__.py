"""Images and labels: loading, checking, batching, augmenting."""

from sharedkeras.data.batches import Batches
from sharedkeras.data.check_images import check_images, with_channels
from sharedkeras.data.check_labels import check_labels
from sharedkeras.data.crop_and_flip import CropAndFlip
from sharedkeras.data.dataset import Dataset
from sharedkeras.data.from_dataset import from_dataset
from sharedkeras.data.info import info, names
from sharedkeras.data.known import DatasetInfo
from sharedkeras.data.load import load
from sharedkeras.data.subset import subset

__all__ = [
    "Batches",
    "CropAndFlip",
    "Dataset",
    "DatasetInfo",
    "check_images",
    "check_labels",
    "from_dataset",
    "info",
    "load",
    "names",
    "subset",
    "with_channels",
]
