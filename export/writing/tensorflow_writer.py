"""Writes the two file formats; the one module that needs TensorFlow as Keras's backend."""

import contextlib
import gc
import json
import logging
import pathlib
import warnings

import tensorflow as tf
from absl import logging as absl_logging
from tensorflow.core.protobuf import saved_model_pb2

from export.contract import DIGEST, INPUT, OUTPUTS, tied, to_properties
from export.onnx_file import digest_of
from export.runtime import METADATA_FILE, saved_model_digest
from export.signature import forward
from export.writing.determinism import check_onnx, check_tensorflow
from export.writing.flat_graph import flat_graph

_PRODUCER = "sharedkeras"
_CHATTY = ("tensorflow", "tf2onnx")


def write(network, path, *, form, metadata, select=None, opset=None):
    """Write a network into a file, without checking parity.

    Args:
        network: functional `keras.Model`.
        path: path where nothing exists yet.
        form: "onnx" or "saved_model".
        metadata: dict of `Contract.to_dict`; the versions of the tools are added.
        select: str or int, the output that is the logits.
        opset: int, ONNX only.

    Raises:
        ValueError: if the network is random in inference mode.
        RuntimeError: if it has an operation that ONNX lacks.
    """
    layers = [layer.name for layer in network.layers]
    function = _serving_function(network, metadata["input"]["shape"][1:], select)
    concrete = function.get_concrete_function()
    check_tensorflow(concrete.graph.as_graph_def(), layers)
    versions = {**metadata["versions"], "tensorflow": tf.__version__}
    metadata = {**metadata, "versions": versions}
    with _without_progress_messages():
        if form == "onnx":
            _write_onnx(concrete, pathlib.Path(path), metadata, layers, opset)
        else:
            _write_saved_model(concrete, pathlib.Path(path), metadata, layers)


@contextlib.contextmanager
def _without_progress_messages():
    # Under absl.app the libraries report every step at the level of information. Absl's own logger is
    # set through its module, because TensorFlow sets it too while it saves.
    verbosity = absl_logging.get_verbosity()
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    absl_logging.set_verbosity(min(verbosity, absl_logging.WARNING))
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.ERROR))
    try:
        yield
    finally:
        absl_logging.set_verbosity(verbosity)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _serving_function(network, input_shape, select):
    @tf.function(input_signature=[tf.TensorSpec((None, *input_shape), tf.float32, name=INPUT)])
    def serve(images):
        logits = tf.cast(forward(network, images, select), tf.float32)
        return dict(zip(OUTPUTS, (logits, tf.nn.softmax(logits)), strict=True))

    return serve


def _write_saved_model(concrete, path, metadata, layers):
    module = tf.Module()
    # Only what the signature reads. Handed the Keras model, TensorFlow finds every variable by two
    # ways and stores it twice, and the model's layers besides.
    module.weights = list(concrete.variables)
    tf.saved_model.save(module, str(path), signatures={"serving_default": concrete})
    written = saved_model_pb2.SavedModel()
    written.ParseFromString((path / "saved_model.pb").read_bytes())
    for graph in written.meta_graphs:
        check_tensorflow(graph.graph_def, layers, allow_state=True)
    target = path / METADATA_FILE
    target.parent.mkdir()
    metadata = {**metadata, DIGEST: tied(saved_model_digest(path), metadata)}
    target.write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")


@contextlib.contextmanager
def _collecting_often():
    # tf2onnx copies the graph with all its weights before each of its optimisations, in objects that
    # refer to each other, so that only the collector frees them. Python's settings wait for too many:
    # a network of 187 MB took 11.7 GB, and takes 5.4 GB so.
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()  # Now the collector knows of few old objects, and does not wait for as many new ones.
    gc.set_threshold(thresholds[0], 5, 2)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _write_onnx(concrete, path, metadata, layers, opset):
    import onnx

    with warnings.catch_warnings():
        # tf2onnx still uses names that NumPy, protobuf and onnx have deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        import tf2onnx

        graph = flat_graph(concrete, [INPUT], OUTPUTS)
        names = {f"{name}:0": name for name in (INPUT, *OUTPUTS)}
        with _collecting_often():
            model, _ = tf2onnx.convert.from_graph_def(
                graph,
                input_names=[f"{INPUT}:0"],
                output_names=[f"{name}:0" for name in OUTPUTS],
                tensors_to_rename=names,
                opset=opset,
            )
    check_onnx(model.graph, layers)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.producer_name = _PRODUCER
    model.producer_version = metadata["versions"].get(_PRODUCER, "")
    model.graph.name = metadata["name"]
    model.graph.doc_string = ""
    versions = {
        **metadata["versions"],
        "tf2onnx": tf2onnx.__version__,
        "onnx": onnx.__version__,
        "opset": opset,
    }
    metadata = {**metadata, "versions": versions}
    metadata[DIGEST] = tied(digest_of(model.SerializeToString()), metadata)
    onnx.helper.set_model_props(model, to_properties(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        # tf2onnx leaves an operation that it cannot convert in the graph, under TensorFlow's name.
        raise RuntimeError(f"The network cannot be written as ONNX: {error}") from error
    onnx.save(model, str(path))
