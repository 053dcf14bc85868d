"""Builders get large graphs with their weights in a file, and build the same engine from them."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from harmonyrt.export import onnx_file
from harmonyrt.export.targets import BUILDERS, BuildOptions
from harmonyrt.runtime.backends import SessionOptions, openvino
from harmonyrt.runtime.manifest import EngineSpec, Parity

SHAPE = [1, 16, 8, 8]


@pytest.fixture
def graph() -> ir.Model:
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32) / 12
    proto = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="net/Conv", pads=[1, 1, 1, 1])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return ir.from_proto(model)


@pytest.fixture(params=["inside", "next to"])
def written(request, graph, tmp_path, monkeypatch):
    """`written(target)` -> the engines of the graph, built from weights inside the message or in a file next to it."""
    if request.param == "next to":
        monkeypatch.setattr(onnx_file, "HANDED_INLINE_LIMIT", onnx_file.weight_bytes(graph) - 1)
    saved, save = [], onnx_file.save
    monkeypatch.setattr(onnx_file, "save", lambda *given: saved.append(save(*given)) or saved[-1])

    def write(target: str):
        options = BuildOptions(target, (64, 64), threads=1, compute_capabilities=("8.9",))
        (engine,) = BUILDERS[target](graph, tmp_path, "fp32", options)
        assert [len(files) for files in saved] == [1 if request.param == "inside" else 2]
        assert sorted(os.listdir(tmp_path)) == sorted(engine.files)
        return engine

    return write


def test_openvino(written, tmp_path, graph):
    pytest.importorskip("openvino", reason="needs openvino, extra 'openvino'")
    engine = written("openvino")
    assert engine.counts == {"float32": 1}
    spec = EngineSpec("openvino", "fp32", (), engine.counts, Parity(0, 0.0, 0.0, "", ""))
    manifest = type("Manifest", (), {"outputs": ()})
    options = SessionOptions(threads=1, cache=str(tmp_path / "cache"))
    session = openvino.open_session(tmp_path / engine.files[0], spec, manifest, options)
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, graph.graph.initializers["w"].const_value.numpy())
    np.testing.assert_allclose(session.run({"x": x})["y"], expected, atol=1e-5)


def test_tensorrt_for_rtx(written, tmp_path):
    if not importlib.util.find_spec("tensorrt_rtx_bindings"):
        pytest.skip("needs TensorRT for RTX, extra 'tensorrt-rtx'")
    engine = written("tensorrt-rtx")
    assert engine.counts == {"float32": 1}
    assert (tmp_path / engine.files[0]).stat().st_size > 16 * 16 * 9 * 4
