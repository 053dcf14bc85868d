"""Graphs whose weights lie next to them: what is written computes what the whole graph computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harmonyrt.common import WorkFailed
from harmonyrt.export.build.weights_apart import Graph, joined, split, write
from harmonyrt.export.diffharmony import precision


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
def graph(model) -> Graph:
    return split(ir.from_proto(model))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)


def outcome(path, picture) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x"]
    return session.run(None, {"x": picture})[0]


def test_weights_become_inputs_and_small_constants_stay(graph):
    assert list(graph.weights) == ["w"]
    assert [value.name for value in graph.proto.graph.input] == ["x", "w"]
    assert [tensor.name for tensor in graph.proto.graph.initializer] == ["b"]


@pytest.mark.parametrize("limit", [10**9, 0])
def test_inside_or_beside_the_values_are_the_same(limit, graph, model, picture, tmp_path):
    onnx.save(model, tmp_path / "whole.onnx")
    files = write(graph, tmp_path / "model.onnx", inline_limit=limit)
    assert files == (("model.onnx",) if limit else ("model.onnx", "model.onnx.data"))
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    assert np.array_equal(outcome(tmp_path / "model.onnx", picture), outcome(tmp_path / "whole.onnx", picture))


@pytest.mark.parametrize(("name", "size"), [("fp16", 2), ("bf16", 2), ("fp32", 4)])
def test_weights_are_stored_in_the_type_that_reads_them(name, size, graph):
    typed = precision.typed(graph, name)
    assert typed.bytes == 16 * 16 * 9 * size
    assert not [n for n in typed.proto.graph.node if n.op_type == "Cast" and n.input[0] == "w"]
    onnx.checker.check_model(joined(typed), full_check=True)
    assert graph.bytes == 16 * 16 * 9 * 4  # the given graph stays as it is


def test_the_simulation_rounds_like_the_typed_graph(graph, picture, tmp_path):
    write(graph, tmp_path / "exact.onnx")
    write(precision.simulated(precision.typed(graph, "bf16")), tmp_path / "rounded.onnx")
    exact, rounded = outcome(tmp_path / "exact.onnx", picture), outcome(tmp_path / "rounded.onnx", picture)
    assert 1e-4 < np.abs(exact - rounded).max() < 0.1


def test_a_weight_out_of_range_is_named(graph, tmp_path):
    graph.weights["w"] = graph.weights["w"] * 1e6
    with pytest.raises(WorkFailed, match=r"weight w reaches .* which float16 cannot hold; build bf16"):
        write(precision.typed(graph, "fp16"), tmp_path / "model.onnx")
