"""Real engines of TensorRT for RTX, built ahead of time without a GPU."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from fakes import small_engine
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export import rewrites
from harmonyrt.export.precision import typed_graph
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.tensorrt_engine import build as to_tensorrt
from harmonyrt.export.tensorrt_engine.lacking import without_bf16_transposed, without_fp32_products
from harmonyrt.runtime.backends.tensorrt.plan import read_header

needs_rtx = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("tensorrt_rtx_bindings"),
    reason="TensorRT for RTX is not installed: pip install 'harmonyrt[tensorrt-rtx]'",
)


def options(**wishes):
    return BuildOptions("tensorrt-rtx", (64, 64), **wishes)


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_phnet_becomes_engines_for_every_gpu(golden_graph, tmp_path, precision):
    names = rewrites.fitting(rewrites.DEFAULT, (64, 64), "tensorrt-rtx", precision)
    model = ir.from_proto(golden_graph("phnet_iharmony4", (64, 64), names))
    typed = model if precision == "fp32" else typed_graph(model, precision)
    engines = to_tensorrt.build(typed, tmp_path, precision, options())
    gpus = [header.capabilities for e in engines if (header := read_header(tmp_path / e.files[0]))]
    expected = [((8, 0), (8, 6), (8, 9), (12, 0), (12, 1)), ((7, 5),)]
    assert gpus == (expected[:1] if precision == "bf16" else expected)  # Turing has no BF16
    kind = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]
    turing, bf16 = ("fp32-products-as-sums",), ("bf16-transposed-as-phases",)
    assert [e.rewrites for e in engines] == ([bf16] if precision == "bf16" else [(), turing])
    for engine in engines:
        assert engine.counts[kind] >= 18
        assert engine.needs["version"].startswith("1.")
        assert not engine.runs_here or pytest.importorskip("torch").cuda.is_available()
    assert {path.name for path in tmp_path.iterdir()} == {e.files[0] for e in engines}


@needs_rtx
def test_what_tests_on_a_gpu_run_builds_here_too(tmp_path):
    """Those tests run where nobody looks for weeks: what they begin with must not rot."""
    engine = small_engine.build("tensorrt-rtx", tmp_path)
    assert engine.spec.census == {"float32": 1}
    assert engine.spec.files[0].bytes == engine.path.stat().st_size
    assert engine.spec.needs["version"].startswith("1.")


@needs_rtx
def test_one_gpu_can_be_asked_for(tmp_path):
    (engine,) = to_tensorrt.build(
        ir.from_proto(_convolution()), tmp_path, "fp32", options(compute_capabilities=("8.9",))
    )
    assert engine.files == ("tensorrt-rtx-sm89.engine",)
    assert engine.needs["compute_capability"] == "8.9"


_INTERRUPTED = """
import signal, sys, onnx_ir as ir
from pathlib import Path
from harmonyrt.export.tensorrt_engine import build as to_tensorrt
from harmonyrt.export.targets import BuildOptions

def press_ctrl_c(doing, share):
    if share is not None:
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
options = BuildOptions("tensorrt-rtx", (64, 64), progress=press_ctrl_c)
try:
    to_tensorrt.build(ir.load(sys.argv[1]), Path(sys.argv[2]), "fp32", options)
except KeyboardInterrupt:
    sys.exit(130)
"""


@needs_rtx
def test_an_interrupted_build_ends_as_interrupted(tmp_path):
    """The builder took the exception of Ctrl-C for a request to cancel: one engine failed, and the build went on."""
    onnx.save(_convolution(), tmp_path / "model.onnx")
    folder = tmp_path / "bundle"
    folder.mkdir()
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "model.onnx"), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 130, ended.stderr
    assert not list(folder.iterdir())


@needs_rtx
def test_an_untyped_graph_is_not_passed_off_as_fp16(tmp_path):
    with pytest.raises(WorkFailed, match="fp16 was asked for, but nothing computes"):
        to_tensorrt.build(ir.from_proto(_convolution()), tmp_path, "fp16", options())
    assert not list(tmp_path.iterdir())


@needs_rtx
def test_a_node_that_cannot_be_read_is_named(tmp_path):
    model = _convolution()
    model.graph.node.append(helper.make_node("Hardmax", ["output"], ["bad"], "somewhere/Hardmax", axis=99))
    model.graph.output[0].name = "bad"
    with pytest.raises(WorkFailed, match="cannot read node somewhere/Hardmax"):
        to_tensorrt.build(ir.from_proto(model), tmp_path, "fp32", options())


@needs_rtx
@pytest.mark.parametrize(
    ("precision", "wishes", "words"),
    [
        ("fp32", {"compute_capabilities": ("9.0",)}, r"not\s+for 9.0"),
        ("bf16", {"compute_capabilities": ("7.5",)}, "7.5 has no BF16"),
        ("int8", {}, "no INT8 convolution"),
        ("fp32", {"version_compatible": True}, "every release needs its own"),
        ("fp32", {"hardware_compatible": True}, "name several compute capabilities"),
    ],
)
def test_what_it_does_not_have_is_one_sentence(tmp_path, precision, wishes, words):
    with pytest.raises(HarmonyError, match=words):
        to_tensorrt.build(ir.from_proto(_convolution()), tmp_path, precision, options(**wishes))
    assert not list(tmp_path.iterdir())


def test_products_for_turing_are_the_same_function(run_onnx):
    random = np.random.default_rng(0)
    arrays = {
        "columns": random.random((16, 4), np.float32),
        "rows": random.random((5, 12), np.float32),
        "weight": random.random((7, 4), np.float32),
        "bias": random.random(7, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "columns"], ["right"], "right"),
        helper.make_node("MatMul", ["rows", "right"], ["both"], "both"),
        helper.make_node("ReduceMean", ["both"], ["flat"], "flat", axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["y"], "gemm", transB=1),
    ]
    model = _model(nodes, ("x", (2, 3, 12, 16)), ("y", (2, 7)), arrays)
    rewritten = _after(without_fp32_products, model)
    onnx.checker.check_model(rewritten, full_check=True)
    assert not {"MatMul", "Gemm"} & {node.op_type for node in rewritten.graph.node}
    x = random.random((2, 3, 12, 16), np.float32)
    np.testing.assert_allclose(run_onnx(rewritten, x=x)[0], run_onnx(model, x=x)[0], rtol=1e-5)


def test_a_whole_network_for_turing_is_the_same_function(golden_graph, run_onnx):
    model = golden_graph("phnet_iharmony4", (64, 64))
    random = np.random.default_rng(0)
    feeds = {"image": random.random((1, 3, 64, 64), np.float32), "mask": np.zeros((1, 1, 64, 64), np.float32)}
    feeds["mask"][:, :, 10:40, 20:50] = 1
    a, b = run_onnx(model, **feeds)[0], run_onnx(_after(without_fp32_products, model), **feeds)[0]
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_transposed_convolutions_in_phases_are_the_same_function(run_onnx):
    random = np.random.default_rng(0)
    weight, bias = random.random((6, 5, 4, 4), np.float32), random.random(5, np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], "up", strides=[2, 2], pads=[1, 1, 1, 1])
    model = _model([node], ("x", (2, 6, 7, 9)), ("y", (2, 5, 14, 18)), {"w": weight, "b": bias})
    rewritten = _after(lambda graph: without_bf16_transposed(graph, np.float32), model)
    assert [n.op_type for n in rewritten.graph.node] == ["Conv"] * 4 + ["Concat", "DepthToSpace"]
    assert _after(without_bf16_transposed, model).graph.node[0].op_type == "ConvTranspose"  # this one is FP32
    x = random.random((2, 6, 7, 9), np.float32)
    np.testing.assert_allclose(run_onnx(rewritten, x=x)[0], run_onnx(model, x=x)[0], rtol=1e-5)


def _after(rewrite, model):
    graph = ir.from_proto(model)
    rewrite(graph)
    return ir.to_proto(graph)


def _convolution():
    node = helper.make_node("Conv", ["image", "w"], ["output"], "conv", pads=[1, 1, 1, 1])
    weight = {"w": np.ones((3, 3, 3, 3), np.float32)}
    return _model([node], ("image", (1, 3, 16, 16)), ("output", (1, 3, 16, 16)), weight)


def _model(nodes, given, made, arrays):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (given, made)]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    inner = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    return helper.make_model(inner, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
