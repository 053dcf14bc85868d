"""Engines of native kernels in OpenVINO: against the plain graph, and without the kernels."""

import json
import shutil

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from fakes.native_layers import three_layers
from harmonyrt.common import HarmonyError
from harmonyrt.export.build.tracing import tidy
from harmonyrt.export.precision import precision_counts, typed_graph
from harmonyrt.export.precision.mark_islands import is_convolution
from harmonyrt.export.rewrites import gate_fold, native_int8
from harmonyrt.export.rewrites import native as native_rewrite
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.to_openvino import build
from harmonyrt.runtime import native, openvino_core
from harmonyrt.runtime.backends import openvino as backend

openvino = pytest.importorskip("openvino")
built = pytest.mark.skipif(native.library() is None, reason="needs the kernels in C++: run make native")
built_bf16 = pytest.mark.skipif(
    native.library() is not None and native.why_not(native.VERSION, precision="bf16") is not None,
    reason="needs a CPU with AVX512-BF16",
)


def compiled(model, threads=1, hint="f32"):
    core = openvino_core.core(openvino)
    backend.add_native_kernels({native.NEED: native.VERSION})
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)


def layers(inputs, height, width):
    """Three layers, the same in native convolutions, and inputs."""
    model, feeds = three_layers(inputs, height, width)
    before = ir.to_proto(model)
    gate_fold.apply(model)
    tidy(model)
    assert native_rewrite.apply(model) == 3
    return before, model, feeds


@built
@pytest.mark.parametrize(("inputs", "height", "width"), [(64, 8, 8), (80, 34, 22), (64, 6, 38)])
def test_layers_give_what_the_plain_graph_gives_on_any_number_of_threads(inputs, height, width):
    before, model, feeds = layers(inputs, height, width)
    expected = compiled(before)(feeds)[0]
    found = [compiled(ir.to_proto(model), threads)(feeds)[0] for threads in (1, 2)]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])


@built
@built_bf16
@pytest.mark.parametrize(("inputs", "height", "width"), [(65, 8, 8), (80, 34, 22)])
def test_bf16_layers_give_what_the_plain_graph_gives_on_any_number_of_threads(inputs, height, width):
    before, model, feeds = layers(inputs, height, width)
    computes = lambda node: is_convolution(node) or native_rewrite.is_fused(node)  # noqa: E731
    typed = typed_graph(model, "bf16", computes)
    assert precision_counts(typed, native_rewrite.is_fused) == {"bfloat16": 6}  # the transposed one in four phases
    expected = compiled(before)(feeds)[0]
    found = [compiled(ir.to_proto(typed), threads, "bf16")(feeds)[0] for threads in (1, 2)]
    assert 0 < np.sqrt(np.mean((found[0] - expected) ** 2)) < 0.05 * expected.std()
    np.testing.assert_array_equal(found[0], found[1])


@built
def test_one_operator_computes_in_one_type():
    text = """<ir_version: 9, opset_import: ["": 22, "harmonyrt": 1]> g (float[1,8,8,8] x) => (float[1,16,8,8] y) {
        low = Cast <to = 16> (x)
        z = harmonyrt.FusedConvolution <kernel=3, outputs=16, top=1, left=1, height=8, width=8, activation=0, slope=0.0>
            (low, w, b)
        y = Cast <to = 1> (z)
    }"""
    parsed = onnx.parser.parse_model(text)
    for name, shape in (("w", (1, 8, 9, 16)), ("b", (16,))):
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    with pytest.raises(RuntimeError, match="of the first one's type"):
        compiled(parsed)


@built
def test_weights_of_another_shape_are_refused():
    text = """<ir_version: 9, opset_import: ["": 18, "harmonyrt": 1]> g (float[1,8,8,8] x) => (float[1,16,8,8] y) {
        y = harmonyrt.FusedConvolution <kernel=3, outputs=16, top=1, left=1, height=8, width=8, activation=0, slope=0.0>
            (x, w, b)
    }"""
    parsed = onnx.parser.parse_model(text)
    for name, shape in (("w", (1, 7, 9, 16)), ("b", (16,))):
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    with pytest.raises(RuntimeError, match="not packed for these channels"):
        compiled(parsed)


def test_without_the_kernels_nothing_is_built_or_opened(monkeypatch, tmp_path, static_bundle):
    from harmonyrt.runtime import Harmonizer

    monkeypatch.setenv(native.VARIABLE, str(tmp_path / "none.so"))
    model = ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 9, opset_import: ["": 18, "harmonyrt": 1]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
        )
    )
    with pytest.raises(HarmonyError, match="run make native"):
        build(model, tmp_path, "fp32", BuildOptions(target="openvino", size=(8, 8)))
    bundle = tmp_path / "bundle"
    shutil.copytree(static_bundle, bundle)
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    for engine in manifest["engines"]:
        engine["needs"] = {native.NEED: native.VERSION} if engine["target"] == "openvino" else {}
    path.write_text(json.dumps(manifest))
    with pytest.raises(HarmonyError, match="run make native"):
        Harmonizer.open(bundle, backend="openvino", target="openvino")


@built
def test_a_file_that_is_no_library_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "kernels.so"
    path.write_bytes(b"no library")
    monkeypatch.setenv(native.VARIABLE, str(path))
    with pytest.raises(HarmonyError, match="do not fit this OpenVINO"):
        backend.add_native_kernels({native.NEED: native.VERSION})


def int8_layers(batch, inputs, height, width):
    """Three layers, the same in INT8, and inputs."""
    model, feeds = three_layers(inputs, height, width, batch)
    before = ir.to_proto(model)
    assert native_int8.apply(model) == 3
    return before, ir.to_proto(model), feeds


@built
@pytest.mark.parametrize(("batch", "inputs", "height", "width"), [(1, 64, 8, 8), (2, 80, 34, 22), (3, 64, 6, 38)])
def test_int8_layers_are_near_the_plain_graph_and_the_same_on_any_number_of_threads(batch, inputs, height, width):
    before, after, feeds = int8_layers(batch, inputs, height, width)
    expected = compiled(before)(feeds)[0]
    found = [compiled(after, threads)(feeds)[0] for threads in (1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    power, noise = np.square(expected).mean(), np.square(found[0] - expected).mean()
    assert 0 < noise < power / 10**2  # 20 dB: three layers of noise, each rounded again


@built
def test_an_int8_model_keeps_its_numbers_from_call_to_call_and_through_the_cache():
    _, after, feeds = int8_layers(1, 64, 16, 16)
    first = compiled(after)
    answers = [first(feeds)[0].copy() for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    exported = first.export_model()
    core = openvino_core.core(openvino)
    backend.add_native_kernels({native.NEED: native.VERSION})
    again = core.import_model(exported, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    np.testing.assert_array_equal(again(feeds)[0], answers[0])


@built
@pytest.mark.parametrize("slot", ["w", "scales", "b"])
def test_int8_weights_of_another_shape_are_refused(slot):
    text = """<ir_version: 9, opset_import: ["": 18, "harmonyrt": 1]> g (float[1,8,8,8] x) => (float[1,16,8,8] y) {
        y = harmonyrt.QuantizedConvolution
            <kernel=3, outputs=16, top=1, left=1, height=8, width=8, activation=0, slope=0.0> (x, w, scales, b)
    }"""
    parsed = onnx.parser.parse_model(text)
    shapes = {"w": (1, 8, 9, 16), "scales": (16,), "b": (16,)}
    shapes[slot] = (1, 7, 9, 16) if slot == "w" else (15,)
    for name, shape in shapes.items():
        kind = np.int8 if name == "w" else np.float32
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, kind), name))
    with pytest.raises(RuntimeError, match=r"not packed for these channels|one value per output channel"):
        compiled(parsed)
