"""What a network or a report needs to know of a data set."""

import os

from sharedkeras.data.known import KNOWN, DatasetInfo
from sharedkeras.data.locate import find
from sharedkeras.data.source import describe


def names():
    """List the data sets that have a name of their own, whose facts are known without their data.

    Returns:
        List of strings.
    """
    return list(KNOWN)


def info(name, data_dir=None, *, image_size=None):
    """Look up a data set's image shape and labels.

    Of those in `names()` nothing is read, so that a network can be built, and a flag be checked, before
    any data is there. Of the others the facts are read from what is stored.

    Args:
        name: what `load` takes.
        data_dir: directory with prepared data sets, as in `load`.
        image_size: `(H, W)` to which images are scaled, as in `load`.

    Returns:
        `DatasetInfo`.

    Raises:
        ValueError: if the name is not known, or the images differ in size and `image_size` is None.
        FileNotFoundError: if the data is absent.
    """
    if isinstance(name, str) and name in KNOWN:
        return KNOWN[name]
    input_shape, label_names = describe(find(name, data_dir), image_size)
    return DatasetInfo(os.fspath(name), input_shape, len(label_names), label_names)
