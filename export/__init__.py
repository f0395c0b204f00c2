"""Exports a Keras image classifier to SavedModel and ONNX, proves parity, runs the files.

    import export

    export.onnx(network, "cnn.onnx", class_names=names, x=test_images)
    logits = export.load_onnx("cnn.onnx")(images)

Importing this package imports no framework: `load_onnx` needs onnxruntime and NumPy only.
"""

import importlib

_MODULES = {
    "ParityReport": "parity",
    "Runtime": "runtime",
    "check_parity": "parity",
    "from_onnx": "onnx_import",
    "load_onnx": "runtime",
    "load_saved_model": "runtime",
    "onnx": "to_onnx",
    "read_image": "image_file",
    "saved_model": "to_saved_model",
    "size_of": "writing.placement",
}

__all__ = [
    "ParityReport",
    "Runtime",
    "check_parity",
    "from_onnx",
    "load_onnx",
    "load_saved_model",
    "onnx",
    "read_image",
    "saved_model",
    "size_of",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"export.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_MODULES})
