"""Weights of low-precision nodes are stored in low precision, others are not."""

import numpy as np
import onnx_ir as ir
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision.convert_weights import convert_weights

TEXT = """g (float[1,1,4,4] x) => (float[1,1,4,4] y) {
    [low] a = Conv(x, w, b) [high] y = Mul(a, b) }"""


def named(graph, **weights):
    model = graph(TEXT.replace("[low] ", "").replace("[high] ", ""), **weights)
    return model.graph, {node for node in model.graph if node.op_type == "Conv"}


def test_weights_are_rounded_and_shared_ones_are_kept_beside_their_copy(graph):
    found, low = named(graph, w=np.full((1, 1, 1, 1), 1 / 3, np.float32), b=np.float32([0.1]))
    convert_weights(found, low, ir.DataType.FLOAT16)
    kinds = {name: value.const_value.dtype for name, value in found.initializers.items()}
    assert kinds == {"w": ir.DataType.FLOAT16, "b": ir.DataType.FLOAT, "b_low": ir.DataType.FLOAT16}
    assert [[value.name for value in node.inputs] for node in found] == [["x", "w", "b_low"], ["a", "b"]]
    assert found.initializers["w"].const_value.numpy().item() == np.float16(1 / 3)


def test_bfloat16_takes_what_float16_cannot(graph):
    large = np.full((1, 1, 1, 1), 1e6, np.float32)
    with pytest.raises(WorkFailed, match=r"weight w reaches 1e\+06, which float16 cannot hold; build bf16 or fp32"):
        convert_weights(*named(graph, w=large, b=np.float32([0])), ir.DataType.FLOAT16)
    found, low = named(graph, w=large, b=np.float32([0]))
    convert_weights(found, low, ir.DataType.BFLOAT16)
    assert found.initializers["w"].dtype == ir.DataType.BFLOAT16
