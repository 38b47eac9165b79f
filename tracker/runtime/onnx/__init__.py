"""ONNX graphs built from a model's weights, without torch or the package onnx."""
