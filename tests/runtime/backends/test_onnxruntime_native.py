"""Engines of native kernels in ONNX Runtime: against the plain graph, and without the kernels."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from fakes.native_layers import three_layers
from harmonyrt.common import HarmonyError
from harmonyrt.export.build.tracing import tidy
from harmonyrt.export.onnx_file import build
from harmonyrt.export.rewrites import gate_fold, native_int8
from harmonyrt.export.rewrites import native as native_rewrite
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime import native
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.backends import onnxruntime as backend
from harmonyrt.runtime.manifest import EngineSpec, Parity

LIBRARY = native.library("onnxruntime")
built = pytest.mark.skipif(LIBRARY is None, reason="needs the kernels for ONNX Runtime in C++: run make native")

OPERATOR = """<ir_version: 9, opset_import: ["": 18, "harmonyrt": 1]>
g (float[n,8,h,v] x{more}) => (float[n,16,8,8] y) {{
    y = harmonyrt.FusedConvolution <kernel={kernel}, outputs=16, top=1, left=1, height={height}, width=8, activation=0,
        slope=0.0> ({inputs})
}}"""


def session(model, threads=1, registered=1):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    for _ in range(registered):
        backend.add_native_kernels(settings, {native.NEED: native.VERSION})
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def operator(kernel=3, height=8, weights=(1, 8, 9, 16), inputs="x, w, b", more=""):
    parsed = onnx.parser.parse_model(OPERATOR.format(kernel=kernel, height=height, inputs=inputs, more=more))
    rng = np.random.default_rng(1)
    for name, shape in (("w", weights), ("b", (16,))):
        array = rng.standard_normal(shape).astype(np.float32)
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return parsed


@built
@pytest.mark.parametrize(("inputs", "height", "width"), [(64, 8, 8), (80, 34, 22), (64, 6, 38)])
def test_layers_give_what_the_plain_graph_gives_on_any_number_of_threads(inputs, height, width):
    model, feeds = three_layers(inputs, height, width)
    expected_of = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    gate_fold.apply(model)
    tidy(model)
    assert native_rewrite.apply(model) == 3
    expected = expected_of.run(None, feeds)[0]
    found = [session(ir.to_proto(model), threads).run(None, feeds)[0] for threads in (1, 2, 3)]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@built
def test_a_batch_gives_what_its_pictures_give():
    model = operator()
    x = np.random.default_rng(2).standard_normal((3, 8, 8, 8)).astype(np.float32)
    whole = session(model, threads=2).run(None, {"x": x})[0]
    for picture in range(3):
        alone = session(model).run(None, {"x": x[picture : picture + 1]})[0]
        np.testing.assert_array_equal(whole[picture : picture + 1], alone)


@built
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kernel": 5}, "an attribute is out of range"),
        ({"inputs": "x, w, b, w"}, "3 inputs, or 5 with gates"),
        ({"inputs": "x, v, b", "more": ", float[1,8,9,16] v"}, "the weights must be constants"),
    ],
)
def test_a_graph_that_is_wrong_is_refused_when_it_is_opened(fields, said):
    with pytest.raises(Exception, match=said):
        session(operator(**fields))


@built
@pytest.mark.parametrize(
    ("fields", "shape", "said"),
    [
        ({"weights": (1, 7, 9, 16)}, (1, 8, 8, 8), "not packed for these channels"),
        ({}, (1, 9, 8, 8), "."),  # ONNX Runtime's own check of inputs
        ({"height": 12}, (1, 8, 8, 8), "larger than the padded source"),
        ({"inputs": "x, w, b, w, s", "more": ", float[n,c,1,1] s"}, (1, 8, 8, 8), "one gate per picture and channel"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_and_reads_nothing(fields, shape, said):
    opened = session(operator(**fields))
    feeds = {"x": np.zeros(shape, np.float32)}
    if len(opened.get_inputs()) > 1:
        feeds["s"] = np.zeros((1, 4, 1, 1), np.float32)
    with pytest.raises(Exception, match=said):
        opened.run(None, feeds)


def native_engine():
    return EngineSpec("onnx", "fp32", (), {}, Parity(0, 0, 0, "", ""), {native.NEED: native.VERSION})


def test_on_a_gpu_it_is_refused_with_what_to_do():
    reason = backend.why_not(native_engine(), SessionOptions(device="cuda"))
    assert "compute on CPUs, not on cuda" in reason
    assert "without --rewrites native" in reason


def test_without_the_kernels_nothing_is_built_or_opened(monkeypatch, tmp_path):
    monkeypatch.setenv(native.VARIABLE, str(tmp_path / "none.so"))
    with pytest.raises(HarmonyError, match="run make native"):
        build(ir.from_proto(operator()), tmp_path, "fp32", BuildOptions(target="onnx", size=(8, 8)))
    assert list(tmp_path.iterdir()) == []
    assert "run make native" in backend.why_not(native_engine(), SessionOptions())


@built
def test_a_file_that_is_no_library_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "kernels.so"
    path.write_bytes(b"no library")
    monkeypatch.setenv(native.VARIABLE, str(path))
    with pytest.raises(HarmonyError, match="do not fit this ONNX Runtime"):
        backend.add_native_kernels(onnxruntime.SessionOptions(), {native.NEED: native.VERSION})


INT8_OPERATOR = """<ir_version: 9, opset_import: ["": 18, "harmonyrt": 1]>
g (float[n,8,h,v] x{more}) => (float[n,16,8,8] y) {{
    y = harmonyrt.QuantizedConvolution <kernel={kernel}, outputs=16, top=1, left=1, height=8, width=8, activation=0,
        slope=0.0> ({inputs})
}}"""


def int8_operator(kernel=3, weights=(1, 8, 9, 16), scales=(16,), inputs="x, w, s, b", more=""):
    parsed = onnx.parser.parse_model(INT8_OPERATOR.format(kernel=kernel, inputs=inputs, more=more))
    rng = np.random.default_rng(1)
    arrays = {"w": rng.integers(-127, 128, weights, np.int8), "s": rng.random(scales, np.float32) / 100}
    arrays["b"] = rng.standard_normal(16).astype(np.float32)
    parsed.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return parsed


@built
@pytest.mark.parametrize(("batch", "inputs", "height", "width"), [(1, 64, 8, 8), (2, 80, 34, 22), (3, 64, 6, 38)])
def test_int8_layers_are_near_the_plain_graph_and_the_same_on_any_number_of_threads(batch, inputs, height, width):
    model, feeds = three_layers(inputs, height, width, batch)
    plain = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    assert native_int8.apply(model) == 3
    expected = plain.run(None, feeds)[0]
    found = [session(ir.to_proto(model), threads).run(None, feeds)[0] for threads in (1, 2, 3)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    power, noise = np.square(expected).mean(), np.square(found[0] - expected).mean()
    assert 0 < noise < power / 10**2  # 20 dB: three layers of noise, each rounded again


@built
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kernel": 5}, "an attribute is out of range"),
        ({"inputs": "x, v, s, b", "more": ", int8[1,8,9,16] v"}, "the weights must be constants"),
        ({"weights": (1, 7, 9, 15)}, "not packed for these channels"),
        ({"scales": (15,)}, "one value per output channel"),
        ({"weights": (1, 10, 9, 16), "inputs": "x, w, s, b, g", "more": ", float[n,c,1,1] g"}, "channels in fours"),
    ],
)
def test_an_int8_graph_that_is_wrong_is_refused_when_it_is_opened(fields, said):
    with pytest.raises(Exception, match=said):
        session(int8_operator(**fields))


@built
def test_an_int8_call_with_other_channels_than_its_weights_is_refused():
    with pytest.raises(Exception, match="not packed for these channels"):
        session(int8_operator(weights=(1, 4, 9, 16))).run(None, {"x": np.zeros((1, 8, 8, 8), np.float32)})
