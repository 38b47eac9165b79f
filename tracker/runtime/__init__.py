"""Engines: what runs a model's network, in torch, CUDA, ONNX Runtime or OpenVINO."""
