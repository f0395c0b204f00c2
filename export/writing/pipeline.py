"""What both formats share: check, write, prove parity, put in place."""

import dataclasses
import importlib.metadata
import os
import pathlib
import tempfile

import keras

from export.contract import Contract
from export.parity import compare
from export.plain_copy import plain_copy
from export.precision import full_precision
from export.requirements import require
from export.runtime import load_onnx, load_saved_model
from export.signature import describe, probe_images, reference_logits
from export.writing.placement import check_target, placing

_LOADERS = {"onnx": load_onnx, "saved_model": load_saved_model}
_PACKAGES = {"onnx": ("tensorflow", "tf2onnx"), "saved_model": ("tensorflow",)}
_BATCH_SIZE = 100


def export_network(network, path, *, form, class_names, x, select, overwrite, opset=None):
    """Write a network into a file that computes the same, or leaves no file.

    Args:
        network: functional `keras.Model` from `(batch, H, W, C)` images in [0, 1] to logits.
        path: path to write to.
        form: "onnx" or "saved_model".
        class_names: sequence of K strings, or None.
        x: `(n, H, W, C)` float array in [0, 1] to check parity on, or None for noise.
        select: str or int, the output that is the logits, where the network has several.
        overwrite: bool, whether an earlier export at the path is replaced.
        opset: int, ONNX only.

    Returns:
        `ParityReport`.

    Raises:
        FileExistsError: if the path exists and may not be replaced.
        ImportError: if a package is not installed.
        RuntimeError: if the file computes something else than the network.
        ValueError: if the network is not a deterministic classifier that gives logits.
    """
    path = pathlib.Path(os.path.abspath(path))
    directory = form == "saved_model"
    check_target(path, directory=directory, overwrite=overwrite)
    for package in _PACKAGES[form]:
        require(package, "Writing a file, whatever Keras's backend,")
    input_shape, num_classes = describe(network, select)
    contract = Contract(
        name=network.name,
        input_shape=input_shape,
        num_classes=num_classes,
        class_names=None if class_names is None else tuple(map(str, class_names)),
        versions={"sharedkeras": _version(), "keras": keras.__version__},
    )
    x = contract.check(probe_images(input_shape) if x is None else x)
    network = plain_copy(network)
    reference = reference_logits(network, x, select)
    with placing(path, directory=directory, overwrite=overwrite) as temporary:
        _write(
            network,
            temporary,
            form=form,
            metadata=contract.to_dict(),
            select=select,
            opset=opset,
        )
        with full_precision():
            # Trusted: what the file holds is the caller's own network.
            served = _LOADERS[form](temporary, batch_size=_BATCH_SIZE, trust=True)
            report = compare(served, x, reference)
        report = dataclasses.replace(report, path=str(path))
        if not report.passed:
            raise RuntimeError(
                "The exported file does not compute what the network computes, so it was deleted. "
                f"Received: max_logit_difference={report.max_logit_difference:.3g} "
                f"(tolerance {report.tolerance:g}, largest logit {report.largest_logit:.3g}), "
                f"max_probability_difference={report.max_probability_difference:.3g}, "
                f"equal argmax {report.argmax_equal} of {report.n}, path={report.path!r}"
            )
    return report


def _write(network, path, **job):
    if keras.config.backend() == "tensorflow":
        from export.writing.tensorflow_writer import write

        write(network, path, **job)
        return
    from export.writing.worker import write_in_subprocess

    with tempfile.TemporaryDirectory(prefix="export-") as directory:
        write_in_subprocess(network, path, directory, **job)


def _version():
    """Return the version of sharedkeras, which a checkout has without being installed."""
    try:
        from sharedkeras.version import __version__
    except ModuleNotFoundError:
        try:
            return importlib.metadata.version("sharedkeras")
        except importlib.metadata.PackageNotFoundError:
            return "unknown"
    return __version__
