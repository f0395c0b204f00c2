"""Data sets that TensorFlow Datasets has prepared on this machine."""

import os
import sys
import warnings

from sharedkeras.data.splits import span


def read_prepared(directory, split, validation_size=0):
    """Read one split of a directory that TensorFlow Datasets has prepared.

    From the directory itself, not by name, so that nothing is ever downloaded on the way. The order
    is that of `tfds.load(..., shuffle_files=False)`.

    Args:
        directory: `pathlib.Path` of `<data_dir>/<name>/<version>`.
        split: "train", "validation" or "test".
        validation_size: int, how many examples at the end of the training images are for validation.

    Returns:
        `(images, labels, label_names)`: `(N, H, W, C)` uint8, `(N,)` int64, tuple of strings.

    Raises:
        ImportError: if TensorFlow Datasets is not installed.
        ValueError: if validation would leave nothing to train on.
    """
    tfds = import_tfds()
    builder = tfds.builder_from_directory(str(directory))
    train_size = builder.info.splits["train"].num_examples
    stored, start, stop = span(split, train_size, validation_size)
    dataset = builder.as_dataset(
        split=f"{stored}[{start}:{'' if stop is None else stop}]",
        batch_size=-1,
        shuffle_files=False,
        as_supervised=True,
    )
    images, labels = tfds.as_numpy(dataset)
    return images, labels, tuple(builder.info.features["label"].names)


def import_tfds():
    """Import TensorFlow Datasets, and with it TensorFlow, at the moment it is needed.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed; says what to do without it.
    """
    if "tensorflow" not in sys.modules:
        # TensorFlow only decodes images here. It must neither take the whole GPU from the backend
        # nor greet the user with notes on its build; whoever has set these knows better.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        with warnings.catch_warnings():
            # What its own imports deprecate is nothing that our user can change.
            warnings.simplefilter("ignore")
            import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "Reading this data set needs the package tensorflow-datasets (and TensorFlow). Without "
            "it, put the data set as `<name>.npz` into `data_dir`, or load 'mnist-mini', which is "
            f"embedded. The import failed with: {error}"
        ) from error
    return tensorflow_datasets
