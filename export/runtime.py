"""Runs exported files without Keras."""

import json
import pathlib

import numpy as np

from export.contract import INPUT, OUTPUTS, Contract, from_properties
from export.requirements import require

METADATA_FILE = "assets.extra/sharedkeras.json"
"""Where a SavedModel keeps its metadata; TensorFlow reserves the folder for its users."""


class _Served:
    """What the two kinds of file have in common: the contract, batching, class names."""

    def __init__(self, path, metadata, batch_size):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be an int of at least 1. Received: batch_size={batch_size}"
            )
        self.path = pathlib.Path(path)
        self.contract = Contract.from_dict(metadata, path)
        self.metadata = metadata
        self.batch_size = batch_size

    def __repr__(self):
        return f"{type(self).__name__}({str(self.path)!r}, input_shape={self.input_shape})"

    @property
    def input_shape(self):
        """The shape `(H, W, C)` of an image."""
        return self.contract.input_shape

    @property
    def class_names(self):
        """Tuple of class names; "0", "1", ... where the file has none."""
        return self.contract.class_names or tuple(map(str, range(self.contract.num_classes)))

    def __call__(self, images):
        """Computes the logits.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(batch, K)` float32 array.

        Raises:
            ValueError: if type, shape or range of the images are wrong.
        """
        return self.run(images)[0]

    def probabilities(self, images):
        """Computes the softmax of the logits.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(batch, K)` float32 array in [0, 1].
        """
        return self.run(images)[1]

    def predict(self, images):
        """Names the most probable class of every image.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            List of `(class name, probability)`, one pair per image.
        """
        probabilities = self.probabilities(images)
        best = probabilities.argmax(axis=-1)
        return [(self.class_names[k], float(p[k])) for k, p in zip(best, probabilities, strict=True)]

    def run(self, images):
        """Computes both outputs of the file, in batches of `batch_size`.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(logits, probabilities)`, each a `(batch, K)` float32 array.
        """
        images = self.contract.check(images)
        parts = [
            self._run_batch(images[i : i + self.batch_size])
            for i in range(0, len(images), self.batch_size)
        ]
        logits, probabilities = (np.concatenate(p) for p in zip(*parts, strict=True))
        return logits, probabilities

    def _run_batch(self, images):
        raise NotImplementedError


class Runtime(_Served):
    """An exported ONNX file as a function from NumPy images to logits.

    It needs onnxruntime and NumPy, neither Keras nor TensorFlow, and starts in a fraction of a second.
    Black-box attacks accept it in place of a network.

    Args:
        path: path of a file that `export.onnx` wrote.
        batch_size: int, images that are run at a time.
        threads: int, threads inside an operation, or None for onnxruntime's choice.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or was not written by `export.onnx`.
    """

    def __init__(self, path, *, batch_size=256, threads=None):
        import onnxruntime  # Late: the SavedModel's side of this module does without.
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        if not pathlib.Path(path).is_file():
            raise FileNotFoundError(f"There is no such ONNX file. Received: path={str(path)!r}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # Errors; its warnings speak of optimisations not made.
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except (states.InvalidProtobuf, states.InvalidGraph, states.Fail) as error:
            raise ValueError(
                f"The ONNX file cannot be read: {error}. Received: path={str(path)!r}"
            ) from error
        properties = self._session.get_modelmeta().custom_metadata_map
        super().__init__(path, from_properties(properties), batch_size)

    def _run_batch(self, images):
        return self._session.run(list(OUTPUTS), {INPUT: images})


class SavedModelRuntime(_Served):
    """An exported SavedModel as a function from NumPy images to logits; made by `load_saved_model`.

    Args:
        path: path of a directory that `export.saved_model` wrote.
        batch_size: int, images that are run at a time.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ImportError: if TensorFlow is not installed.
        ValueError: if the directory was not written by `export.saved_model`.
    """

    def __init__(self, path, *, batch_size=256):
        path = pathlib.Path(path)
        if not (path / "saved_model.pb").is_file():
            raise FileNotFoundError(f"There is no SavedModel. Received: path={str(path)!r}")
        metadata = path / METADATA_FILE
        values = json.loads(metadata.read_text("utf-8")) if metadata.is_file() else {}
        super().__init__(path, values, batch_size)
        require("tensorflow", "Loading a SavedModel")
        import tensorflow as tf  # Late: the ONNX side of this module does without.

        self._loaded = tf.saved_model.load(str(path))  # Owns the variables that the signature reads.
        self._signature = self._loaded.signatures["serving_default"]
        self._to_tensor = tf.constant

    def _run_batch(self, images):
        outputs = self._signature(**{INPUT: self._to_tensor(images)})
        return tuple(outputs[name].numpy() for name in OUTPUTS)


def load_onnx(path, *, batch_size=256, threads=None):
    """Loads an exported ONNX file.

    Args:
        path: path of a file that `export.onnx` wrote.
        batch_size: int, images that are run at a time.
        threads: int, threads inside an operation, or None for onnxruntime's choice.

    Returns:
        `Runtime`: call it on `(batch, H, W, C)` float32 images in [0, 1] to get `(batch, K)` logits.
    """
    return Runtime(path, batch_size=batch_size, threads=threads)


def load_saved_model(path, *, batch_size=256):
    """Loads an exported SavedModel through TensorFlow alone, without Keras.

    Args:
        path: path of a directory that `export.saved_model` wrote.
        batch_size: int, images that are run at a time.

    Returns:
        `SavedModelRuntime`, which is used as `Runtime` is.
    """
    return SavedModelRuntime(path, batch_size=batch_size)
