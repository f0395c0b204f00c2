"""Export to ONNX."""

from export.writing.pipeline import export_network

OPSETS = range(15, 19)  # tf2onnx 1.17 fails above 18; below 15 is older than any runtime needs.


def onnx(network, path, *, class_names=None, x=None, select=None, opset=17, overwrite=False):
    """Write a network as an ONNX file, and proves parity in onnxruntime.

    The input `images` is float32 in [0, 1] of shape `(batch, H, W, C)`, the outputs are `logits` and
    `probabilities`, in inference mode. The preprocessing contract, the class names and the versions are
    in the file's metadata. The conversion goes through TensorFlow; on other backends a subprocess does
    it, so the layers' classes must be importable there.

    The file appears at the path only after it gave the same logits as Keras, for single images and for
    batches.

    Args:
        network: functional `keras.Model` from `(batch, H, W, C)` images in [0, 1] to logits.
        path: path of the file to create.
        class_names: sequence of K strings, or None.
        x: `(n, H, W, C)` float array in [0, 1], images to check parity on; None takes noise, all 0 and
            all 1.
        select: str or int, the output that is the logits, where the network has several.
        opset: int, version of the ONNX operators, 15 to 18.
        overwrite: bool, whether a file at the path is replaced.

    Returns:
        `ParityReport` of the check.

    Raises:
        FileExistsError: if the path exists and `overwrite` is False, or it is a directory.
        ImportError: if TensorFlow or tf2onnx is not installed.
        RuntimeError: if parity fails or an operation has no ONNX form; nothing is left at the path.
        TypeError: if `network` is no Keras model.
        ValueError: if the network is not built, gives probabilities, or is random in inference mode, or
            `opset` is out of range.
    """
    if opset not in OPSETS:
        raise ValueError(f"`opset` must be one of {list(OPSETS)}. Received: opset={opset!r}")
    return export_network(
        network,
        path,
        form="onnx",
        class_names=class_names,
        x=x,
        select=select,
        overwrite=overwrite,
        opset=opset,
    )
