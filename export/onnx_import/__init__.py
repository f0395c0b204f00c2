"""ONNX files as Keras networks."""

from export.onnx_import.network import from_onnx

__all__ = ["from_onnx"]
