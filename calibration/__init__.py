"""INT8: which layers, with which ranges; written into the graph as Q/DQ.

One calibration serves all engines and all sizes: ranges are kept by tensor name, which is the same at every size.

    calibrated = calibrate_graph(model, feeds)              # ranges, and which layers stay FP32
    quantized = calibrated.apply(model_of_any_size, "onnx")  # the style that the target runs fastest

docs/calibration.md says why ONNX Runtime's quantizer writes the Q/DQ, and what was measured.
"""
