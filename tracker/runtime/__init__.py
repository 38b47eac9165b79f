"""Engines: implementations that run a model's network in torch, CUDA, ONNX Runtime or OpenVINO."""
