"""Weights of low-precision nodes are stored in low precision, others are not."""

import numpy as np
import onnx
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision.convert_weights import convert_weights

TEXT = """g (float[1,1,4,4] x) => (float[1,1,4,4] y) {
    [low] a = Conv(x, w, b) [high] y = Mul(a, b) }"""


def named(graph, **weights):
    model = graph(TEXT.replace("[low] ", "").replace("[high] ", ""), **weights)
    model.graph.node[0].name, model.graph.node[1].name = "low", "high"
    return model


def test_weights_are_rounded_and_shared_ones_are_kept_beside_their_copy(graph):
    model = named(graph, w=np.full((1, 1, 1, 1), 1 / 3, np.float32), b=np.float32([0.1]))
    convert_weights(model, {"low"}, onnx.TensorProto.FLOAT16)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {"w": onnx.TensorProto.FLOAT16, "b": onnx.TensorProto.FLOAT, "b_low": onnx.TensorProto.FLOAT16}
    assert [list(node.input) for node in model.graph.node] == [["x", "w", "b_low"], ["a", "b"]]
    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).item() == np.float16(1 / 3)


def test_bfloat16_takes_what_float16_cannot(graph):
    large = np.full((1, 1, 1, 1), 1e6, np.float32)
    with pytest.raises(WorkFailed, match=r"weight w reaches 1e\+06, which float16 cannot hold; build bf16 or fp32"):
        convert_weights(named(graph, w=large, b=np.float32([0])), {"low"}, onnx.TensorProto.FLOAT16)
    model = named(graph, w=large, b=np.float32([0]))
    convert_weights(model, {"low"}, onnx.TensorProto.BFLOAT16)
    assert model.graph.initializer[0].data_type == onnx.TensorProto.BFLOAT16
