"""Typed ONNX -> engines of TensorRT and of TensorRT for RTX."""
