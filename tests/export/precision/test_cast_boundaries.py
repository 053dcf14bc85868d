"""Casts stand only where types meet, one for each tensor."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass
from onnx_ir.passes.common.shape_inference import infer_shapes

from harmonyrt.export.precision.cast_boundaries import cast_boundaries


def cast(model, low_ops):
    infer_shapes(model)
    cast_boundaries(model.graph, {node for node in model.graph if node.op_type in low_ops}, ir.DataType.FLOAT16)
    CheckerPass(full_check=True)(model)
    return list(model.graph)


def test_one_cast_serves_all_readers(graph):
    model = graph("g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(x) c = Add(a, b) d = Neg(c) y = Abs(d) }")
    nodes = cast(model, {"Relu", "Add"})
    assert [node.op_type for node in nodes] == ["Cast", "Relu", "Relu", "Add", "Cast", "Neg", "Abs"]


def test_a_tensor_is_not_cast_back_for_a_reader_in_its_own_type(graph):
    model = graph("g (float[2] x) => (float[2] y) { a = Neg(x) b = Relu(a) y = Add(a, b) }")
    nodes = cast(model, {"Relu"})
    assert [node.op_type for node in nodes] == ["Neg", "Cast", "Relu", "Cast", "Add"]
    assert [value.name for value in nodes[-1].inputs] == ["a", "b_float"]


def test_integers_are_left_alone(graph):
    text = "g (float[2,2] x) => (float[4] y) { s = Size(x) o = Unsqueeze(s, z) a = Reshape(x, o) y = Neg(a) }"
    model = graph(text, z=np.array([0]))
    assert [node.op_type for node in cast(model, {"Reshape"})] == [
        "Size",
        "Unsqueeze",
        "Cast",
        "Reshape",
        "Cast",
        "Neg",
    ]
