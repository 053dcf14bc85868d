"""Plans without weights get those of the bundle's file when they are opened, and are shared by all of their files."""

from __future__ import annotations

import types
import weakref

import numpy as np
import onnx
import pytest

from fakes import cuda as simulation
from fakes.tensorrt import OnnxParserRefitter, Refitter
from fakes.tensorrt_engines import FakeEngine
from fakes.tensorrt_graphs import graph
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import engine as tensorrt_engine
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Parity


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """opened("a") -> the plan of bundle "a", which is the same file in every bundle; the weights are not."""
    gpu = simulation.SimulatedCuda()
    severity = types.SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal", WARNING="warning")

    class Runtime:
        refits = True

        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            engine = FakeEngine(gpu, int(serialized_engine), self.logger)
            engine.missing, engine.refits = ["weight"], Runtime.refits
            return engine

    trt = types.SimpleNamespace(
        __version__="11.4.0",
        ILogger=type("ILogger", (), {"Severity": severity}),
        Runtime=Runtime,
        Refitter=Refitter,
        OnnxParserRefitter=OnnxParserRefitter,
    )
    monkeypatch.setattr(tensorrt_versions, "load", lambda target: trt)
    monkeypatch.setattr(cuda, "open_cuda", lambda: gpu)
    monkeypatch.setattr(tensorrt_engine, "_plans", weakref.WeakValueDictionary())

    def make(name, scale=1.0, spoil=None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        plan, weights = folder / "tensorrt.engine", folder / "tensorrt-weights.onnx"
        plan.write_text("16")
        model = graph(half=False)
        values = onnx.numpy_helper.to_array(model.graph.initializer[0]) * np.float32(scale)
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "weight"))
        onnx.save(model, weights)
        if spoil is not None:
            spoil(weights)
        files = tuple(FileSpec(path.name, sha256_of(path), path.stat().st_size) for path in (plan, weights))
        needs = {"version": "11.4.0", "weights": "apart"}
        spec = EngineSpec("tensorrt", "fp32", files, {}, Parity(1, 0.0, 100.0, "", ""), needs)
        return tensorrt_engine.load_plan(plan, spec, 0)

    make.runtime = Runtime
    return make


def test_the_weights_of_the_file_go_into_the_plan(opened):
    plan = opened("a", scale=3.0)
    assert plan.engine.missing == []
    np.testing.assert_array_equal(plan.engine.weights["weight"], np.full((3, 3, 1, 1), 3, np.float32))


def test_equal_plans_with_other_weights_are_other_engines(opened):
    one, other, again = opened("a", scale=1.0), opened("b", scale=2.0), opened("c", scale=1.0)
    assert one.engine is again.engine
    assert one.engine is not other.engine
    assert other.engine.weights["weight"].max() == 2


def test_a_file_that_is_no_graph_or_lacks_weights_is_one_sentence(opened):
    with pytest.raises(HarmonyError, match=r"cannot take weights from .*: cannot parse: .*; build the bundle again"):
        opened("a", spoil=lambda path: path.write_bytes(b"no graph"))

    def without(path):
        model = onnx.load(path)
        del model.graph.initializer[:]
        onnx.save(model, path)

    with pytest.raises(HarmonyError, match="lacks 1 weights of its plan, weight among them"):
        opened("b", spoil=without)


def test_a_gpu_that_has_no_room_for_the_weights_says_so(opened, monkeypatch):
    monkeypatch.setattr(opened.runtime, "refits", False)
    with pytest.raises(HarmonyError, match=r"could not put the weights of .* into the plan: out of memory"):
        opened("a")
