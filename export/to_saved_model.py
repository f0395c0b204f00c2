"""Export to TensorFlow's SavedModel."""

from export.writing.pipeline import export_network


def saved_model(network, path, *, class_names=None, x=None, select=None, overwrite=False):
    """Write a network as a SavedModel that needs TensorFlow alone, and proves parity.

    The signature `serving_default` maps float32 `images` in [0, 1] with an open batch size to `logits`
    and `probabilities`, in inference mode. Weights are stored once. `assets.extra/sharedkeras.json`
    holds the preprocessing contract, the class names and the versions. On other backends than
    TensorFlow the file is written by a subprocess, so the layers' classes must be importable there.

    The file appears at the path only after it gave the same logits as Keras, for single images and for
    batches.

    Args:
        network: functional `keras.Model` from `(batch, H, W, C)` images in [0, 1] to logits.
        path: path of the directory to create.
        class_names: sequence of K strings, or None.
        x: `(n, H, W, C)` float array in [0, 1], images to check parity on; None takes noise, all 0 and
            all 1.
        select: str or int, the output that is the logits, where the network has several.
        overwrite: bool, whether a SavedModel at the path is replaced.

    Returns:
        `ParityReport` of the check.

    Raises:
        FileExistsError: if the path exists and `overwrite` is False, or it is not a SavedModel.
        ImportError: if TensorFlow is not installed.
        RuntimeError: if parity fails; nothing is left at the path.
        TypeError: if `network` is no Keras model.
        ValueError: if the network is not built, gives probabilities, or is random in inference mode.
    """
    return export_network(
        network,
        path,
        form="saved_model",
        class_names=class_names,
        x=x,
        select=select,
        overwrite=overwrite,
    )
