"""Small graphs for the adapter over TensorRT."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def graph(half=True, batch=1, side=16, opset=17, last=()):
    """x -> Cast -> Conv in FP16 -> Cast -> ReduceMean -> Sub: a convolution and a statistic."""
    low = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weight = np.ones((3, 3, 1, 1), np.float16 if half else np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["low"], "to_low", to=low),
        helper.make_node("Conv", ["low", "weight"], ["features"], "conv"),
        helper.make_node("Cast", ["features"], ["high"], "to_high", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["high"], ["mean"], "mean", axes=[2, 3]),
        helper.make_node("Sub", ["high", "mean"], ["output"], "sub"),
        *last,
    ]
    shape = [batch, 3, side, side]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(weight, "weight")],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
