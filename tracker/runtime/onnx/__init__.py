"""ONNX files written from a model's weights, without torch or the package onnx."""
