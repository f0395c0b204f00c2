"""The images that an application attacks."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class JudgedImages:
    """Test images of a data set, all of them or a subset.

    Args:
        x: `(n, H, W, C)` float32 array in [0, 1].
        y: `(n,)` int32 array.
        index: `(n,)` ints, the images' numbers in the split.
        label_names: tuple of str.
        settings: dict of what a report says of them.
        text: str, the same for a terminal.
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray
    label_names: tuple
    settings: dict
    text: str


def load_judged_images(dataset, *, count, method, seed, data_dir=None, download=False):
    """Load the test images of a data set, or a subset of them.

    Args:
        dataset: name or path, as `sharedkeras.data.load` takes it.
        count: int, how many, or None for all.
        method: "first", "stride" or "random", how a subset is chosen.
        seed: int, of a random choice.
        data_dir: directory of the data, or None for the default.
        download: bool, whether absent data may be downloaded.

    Returns:
        `JudgedImages`.
    """
    from sharedkeras import data

    test = data.load(dataset, "test", data_dir=data_dir, download=download)
    total = len(test.x)
    index = data.subset(total, count, method=method, seed=seed)
    settings = {"dataset": dataset, "split": "test", "split_size": total}
    text = f"{len(index):,} test images of {dataset}"
    if len(index) < total:
        settings["subset"] = method
        chosen = {"first": "the first", "stride": f"every {total / len(index):.3g}-th"}
        if method == "random":
            settings["subset_seed"] = seed
            chosen["random"] = f"a random choice with seed {seed}"
        text = f"{text} ({chosen[method]} of {total:,})"
    return JudgedImages(test.x[index], test.y[index], index, test.label_names, settings, text)
