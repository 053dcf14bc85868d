"""ONNX files with their weights inside or next to them: what is written computes what the graph computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harmonyrt.export.build.gate import OutOfRange
from harmonyrt.export.diffharmony import precision
from harmonyrt.export.onnx_file import save, weight_bytes
from harmonyrt.export.precision import simulate


@pytest.fixture
def model() -> onnx.ModelProto:
    """x @ w + b through one convolution, whose weights pass the threshold."""
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32) / 12
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["h"], name="net/Conv", pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["h"], ["y"], name="net/Tanh"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 8, 8])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.ones(16, np.float32), "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def graph(model) -> ir.Model:
    return ir.from_proto(model)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)


def outcome(path, picture) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x"]
    return session.run(None, {"x": picture})[0]


def test_small_constants_stay_inside(graph, tmp_path):
    save(graph, tmp_path / "model.onnx", inline_limit=0)
    inside = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
    assert {tensor.name: bool(tensor.external_data) for tensor in inside} == {"w": True, "b": False}


@pytest.mark.parametrize("limit", [10**9, 0])
def test_inside_or_beside_the_values_are_the_same(limit, graph, model, picture, tmp_path):
    onnx.save(model, tmp_path / "whole.onnx")
    files = save(graph, tmp_path / "model.onnx", inline_limit=limit)
    assert files == (("model.onnx",) if limit else ("model.onnx", "model.onnx.data"))
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    assert np.array_equal(outcome(tmp_path / "model.onnx", picture), outcome(tmp_path / "whole.onnx", picture))


@pytest.mark.parametrize(("name", "size"), [("fp16", 2), ("bf16", 2), ("fp32", 4)])
def test_weights_are_stored_in_the_type_that_reads_them(name, size, graph):
    typed = precision.typed(graph, name)
    assert weight_bytes(typed) == (16 * 16 * 9 + 16) * size
    assert not [node for node in typed.graph if node.op_type == "Cast" and node.inputs[0].name == "w"]
    onnx.checker.check_model(ir.to_proto(typed), full_check=True)
    assert weight_bytes(graph) == (16 * 16 * 9 + 16) * 4  # the given graph stays as it is


def test_the_simulation_rounds_like_the_typed_graph(graph, picture, tmp_path):
    save(graph, tmp_path / "exact.onnx")
    save(simulate(precision.typed(graph, "bf16")), tmp_path / "rounded.onnx")
    exact, rounded = outcome(tmp_path / "exact.onnx", picture), outcome(tmp_path / "rounded.onnx", picture)
    assert 1e-4 < np.abs(exact - rounded).max() < 0.1


def test_a_weight_out_of_range_is_named(graph):
    weight = graph.graph.initializers["w"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * 1e6, name="w")
    with pytest.raises(OutOfRange, match=r"weight w reaches .* which float16 cannot hold; build bf16"):
        precision.typed(graph, "fp16")
