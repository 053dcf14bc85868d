"""Casts stand only where types meet, one for each tensor."""

import onnx

from harmonyrt.export.precision.cast_boundaries import cast_boundaries
from harmonyrt.export.precision.tensors import element_types, name_nodes

FLOAT16 = onnx.TensorProto.FLOAT16


def cast(model, low_ops):
    name_nodes(model.graph)
    low = {node.name for node in model.graph.node if node.op_type in low_ops}
    return cast_boundaries(model, low, FLOAT16, element_types(model)).graph.node


def test_one_cast_serves_all_readers(graph):
    model = graph("g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(x) c = Add(a, b) d = Neg(c) y = Abs(d) }")
    nodes = cast(model, {"Relu", "Add"})
    assert [node.op_type for node in nodes] == ["Cast", "Relu", "Relu", "Add", "Cast", "Neg", "Abs"]
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def test_a_tensor_is_not_cast_back_for_a_reader_in_its_own_type(graph):
    model = graph("g (float[2] x) => (float[2] y) { a = Neg(x) b = Relu(a) y = Add(a, b) }")
    nodes = cast(model, {"Relu"})
    assert [node.op_type for node in nodes] == ["Neg", "Cast", "Relu", "Cast", "Add"]
    assert list(nodes[-1].input) == ["a", "b_float"]


def test_integers_are_left_alone(graph):
    model = graph("g (float[2,2] x) => (float[4] y) { s = Size(x) o = Unsqueeze(s, z) a = Reshape(x, o) y = Neg(a) }")
    model.graph.initializer.append(onnx.helper.make_tensor("z", onnx.TensorProto.INT64, [1], [0]))
    assert [node.op_type for node in cast(model, {"Reshape"})] == [
        "Size",
        "Unsqueeze",
        "Cast",
        "Reshape",
        "Cast",
        "Neg",
    ]
