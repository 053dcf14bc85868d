"""DiffHarmony -> specialised ONNX components -> verified bundle."""
