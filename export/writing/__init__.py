"""Keras networks as SavedModel and ONNX files."""
