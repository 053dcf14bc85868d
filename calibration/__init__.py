"""INT8: which layers, with which ranges, written into the graph as Q/DQ.

One calibration serves all engines and all sizes: ranges are kept by tensor name, which is the same at every size.

    calibrated = calibrate_graph(model, feeds)              # ranges, and what stays in FP32
    quantized = calibrated.apply(model_of_any_size, "onnx")  # the form that the target runs fastest

docs/calibration.md tells why ONNX Runtime's quantizer does the writing, and what was measured.
"""
