"""OpenVINO engines have the types of the graph that they were made from."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision import typed_graph
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.to_openvino import build

openvino = pytest.importorskip("openvino", reason="openvino is not installed")
OPTIONS = BuildOptions(target="openvino", size=(8, 8))
GRAPH = '<ir_version: 9, opset_import: ["": 18]> g (float[1,3,8,8] image) => (float[1,4,8,8] output) {'


@pytest.fixture
def convolution():
    model = onnx.parser.parse_model(GRAPH + "c = Conv <pads = [1,1,1,1]> (image, w)  output = Sigmoid (c) }")
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return ir.from_proto(model)


@pytest.fixture
def quantized():
    model = onnx.parser.parse_model(
        GRAPH.replace("18", "21")
        + """
        s = Constant <value = float {0.01}> ()
        z = Constant <value = uint8 {0}> ()
        q = QuantizeLinear (image, s, z)
        d = DequantizeLinear (q, s, z)
        ones = Constant <value_ints = [1, 2, 3]> ()
        shape = Constant <value_ints = [4, 3, 1, 1]> ()
        w8 = ConstantOfShape <value = int8[1] {3}> (shape)
        w = DequantizeLinear (w8, s)
        output = Conv (d, w)
        }"""
    )
    return ir.from_proto(model)


@pytest.mark.parametrize(("precision", "counts"), [("fp32", {"float32": 1}), ("bf16", {"bfloat16": 1})])
def test_the_types_of_the_graph_are_those_of_the_engine(convolution, tmp_path, precision, counts):
    typed = convolution if precision == "fp32" else typed_graph(convolution, precision)
    (engine,) = build(typed, tmp_path, precision, OPTIONS)
    assert engine.counts == counts
    assert all((tmp_path / name).is_file() for name in engine.files)
    assert engine.files[0] == "openvino.xml"
    assert engine.needs == ({} if precision == "fp32" else {"cpu": "BF16"})


def test_quantized_convolutions_are_counted_as_such(quantized, tmp_path):
    (engine,) = build(quantized, tmp_path, "int8", OPTIONS)
    assert engine.counts == {"int8": 1}


def test_an_engine_of_another_precision_than_asked_for_fails(convolution, tmp_path):
    with pytest.raises(WorkFailed, match="bf16 was asked for"):
        build(convolution, tmp_path, "bf16", OPTIONS)


def test_weights_are_not_compressed_behind_our_back(convolution, tmp_path):
    build(convolution, tmp_path, "fp32", OPTIONS)
    assert (tmp_path / "openvino.bin").stat().st_size >= 4 * 4 * 3 * 9
