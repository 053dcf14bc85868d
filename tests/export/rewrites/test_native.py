"""Native convolutions compute what convolutions compute; the operator is told apart by its definition in NumPy."""

import numpy as np
import pytest
from onnx.reference.op_run import OpRun

from fakes.native_layers import proof
from harmonyrt.export.rewrites import LOW_MEMORY, REWRITES, fitting, gate_fold, native, plain

CONV = """g (float[{batch},64,{height},{width}] x) => (float[b,h,v,u] y) {{
    c = Conv <pads = [{pads}], strides = [{stride},{stride}]> (x, w, b)
    y = {after} (c)
}}"""


class FusedConvolution(OpRun):
    """What winograd.h says, term by term."""

    op_domain = native.DOMAIN

    def _run(
        self, x, weights, bias, gated=None, gate=None, kernel=3, outputs=0, top=0, left=0, height=0, width=0,
        activation=0, slope=0.0,
    ):  # fmt: skip
        batch, inputs = x.shape[:2]
        room = np.zeros((batch, inputs, height + kernel - 1, width + kernel - 1))
        rows, columns = min(x.shape[2], room.shape[2] - top), min(x.shape[3], room.shape[3] - left)
        room[:, :, top : top + rows, left : left + columns] = x[:, :, :rows, :columns]
        y = np.zeros((batch, outputs, height, width)) + bias[:, None, None]
        for picture in range(batch):
            w = weights if gated is None else gated * gate[picture].reshape(1, inputs, 1, 1) + weights
            plain = w.transpose(0, 3, 1, 2).reshape(-1, inputs, kernel, kernel)[:outputs]
            for u in range(kernel):
                for v in range(kernel):
                    seen = room[picture, :, u : u + height, v : v + width]
                    y[picture] += np.einsum("oi,ihw->ohw", plain[:, :, u, v], seen)
        y = np.maximum(y, 0) if activation == 1 else np.where(y < 0, y * slope, y) if activation == 2 else y
        return (y.astype(np.float32),)


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14)])
@pytest.mark.parametrize(("kernel", "pads"), [(3, "1,1,1,1"), (3, "0,1,2,0"), (2, "1,1,1,1"), (2, "0,0,0,0")])
@pytest.mark.parametrize("after", ["Relu", "LeakyRelu <alpha = 0.2>", "Sigmoid"])
def test_the_function_stays(random, height, width, kernel, pads, after):
    weights = {"w": random(40, 64, kernel, kernel) / 24, "b": random(40)}
    text = CONV.format(batch=1, height=height, width=width, pads=pads, stride=1, after=after)
    places, model, difference = proof(FusedConvolution, text, weights, native.apply)
    assert places == 1
    assert operators(model) == (["FusedConvolution", "Sigmoid"] if after == "Sigmoid" else ["FusedConvolution"])
    assert difference < 2e-5


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 14)])
def test_a_stride_of_two_becomes_pairs_of_pixels(random, height, width):
    weights = {"w": random(32, 64, 4, 4) / 24, "b": random(32)}
    text = CONV.format(batch=1, height=height, width=width, pads="1,1,1,1", stride=2, after="Relu")
    places, model, difference = proof(FusedConvolution, text, weights, native.apply)
    assert places == 1
    assert "Conv" not in operators(model)
    assert difference < 2e-5


def test_a_transposed_convolution_becomes_four_phases(random):
    text = """g (float[1,64,5,6] x) => (float[1,32,10,12] y) {
        c = ConvTranspose <pads = [1,1,1,1], strides = [2,2]> (x, w, b)
        y = LeakyRelu (c)
    }"""
    weights = {"w": random(64, 32, 4, 4) / 24, "b": random(32)}
    places, model, difference = proof(FusedConvolution, text, weights, native.apply)
    assert places == 1
    assert operators(model).count("FusedConvolution") == 4
    assert "LeakyRelu" not in operators(model)
    assert difference < 2e-5


def test_a_gated_convolution_takes_its_gate_along(random):
    text = """g (float[1,64,8,8] x, float[1,64,1,1] s) => (float[1,32,8,8] y) {
        gated = Mul (x, s)
        both = Concat <axis = 1> (gated, x)
        y = Conv <pads = [1,1,1,1]> (both, w)
    }"""
    places, model, difference = proof(
        FusedConvolution, text, {"w": random(32, 128, 3, 3) / 24}, gate_fold.apply, native.apply
    )
    assert places == 1
    assert operators(model) == ["FusedConvolution"]
    assert len(model.graph.node[0].input) == 5
    assert difference < 2e-5


def test_an_activation_that_is_not_the_only_reader_stays(random):
    text = """g (float[1,64,8,8] x) => (float[1,32,8,8] y) {
        c = Conv <pads = [1,1,1,1]> (x, w)
        r = Relu (c)
        y = Add (c, r)
    }"""
    places, model, difference = proof(FusedConvolution, text, {"w": random(32, 64, 3, 3) / 24}, native.apply)
    assert places == 1
    assert operators(model) == ["FusedConvolution", "Relu", "Add"]
    assert difference < 2e-5


@pytest.mark.parametrize(
    ("shape", "pads", "stride"),
    [((32, 64, 1, 1), "0,0,0,0", 1), ((32, 64, 5, 5), "2,2,2,2", 1), ((32, 64, 3, 3), "1,1,1,1", 2),
     ((31, 64, 3, 3), "1,1,1,1", 1), ((32, 64, 4, 4), "2,2,2,2", 2), ((32, 64, 3, 3), "3,3,3,3", 1)],
)  # fmt: skip
def test_what_does_not_fit_is_left(random, shape, pads, stride):
    text = CONV.format(batch=1, height=8, width=8, pads=pads, stride=stride, after="Relu")
    places, model, _ = proof(FusedConvolution, text, {"w": random(*shape) / 24, "b": random(shape[0])}, native.apply)
    assert places == 0
    assert operators(model) == ["Conv", "Relu"]


def test_the_weights_keep_their_size(random):
    text = CONV.format(batch=1, height=8, width=8, pads="1,1,1,1", stride=1, after="Relu")
    _, model, _ = proof(FusedConvolution, text, {"w": random(64, 64, 3, 3), "b": random(64)}, native.apply)
    assert sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer) == 64 * 64 * 9 + 64


def test_only_engines_for_cpus_in_fp32_and_openvinos_in_bf16_take_it():
    for target in ("onnx", "openvino"):
        assert fitting(["native"], (256, 256), target, "fp32") == (*LOW_MEMORY, "fused-convolutions")
    assert fitting(["native"], (256, 256), "openvino", "bf16") == (*LOW_MEMORY, "fused-convolutions")
    assert fitting(["native"], (256, 256), "onnx", "bf16") == fitting(["fast"], (256, 256), "onnx", "bf16")
    for target, precision in (("onnx", "fp16"), ("openvino", "int8"), ("tensorrt", "fp32"), ("tensorrt", "bf16")):
        assert "fused-convolutions" not in fitting(["native"], (256, 256), target, precision)
    assert "fused-convolutions" not in fitting(["native"], None, "openvino", "fp32")
    assert REWRITES["fused-convolutions"].static_only


@pytest.mark.parametrize("names", [["native"], ["fast", "fused-convolutions"]])
def test_the_engine_that_stands_by_is_the_fast_one(names):
    for target in ("onnx", "openvino"):
        assert fitting(plain(names), (256, 256), target, "fp32") == fitting(["fast"], (256, 256), target, "fp32")


def test_who_asks_for_little_memory_gets_it_in_the_engine_that_stands_by():
    assert plain(["low-memory", "fused-convolutions"]) == LOW_MEMORY
