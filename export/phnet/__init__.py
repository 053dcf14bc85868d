"""PHNet -> one ONNX graph per size -> verified bundle."""
