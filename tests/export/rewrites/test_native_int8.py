"""INT8 convolutions of runtime/native: what stays exact, what is rounded, and what is left as it was."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference.op_run import OpRun

from fakes.native_layers import proof
from harmonyrt.export.phnet.given_calibration import calibration_rewrites
from harmonyrt.export.precision import precision_counts
from harmonyrt.export.rewrites import fitting, gate_fold, native, native_int8

CONV = """g (float[{batch},64,{height},{width}] x) => (float[b,h,v,u] y) {{
    c = Conv <pads = [{pads}], strides = [{stride},{stride}]> (x, w, b)
    y = {after} (c)
}}"""
GATED = """g (float[1,{channels},8,8] x, float[1,{channels},1,1] s) => (float[1,32,8,8] y) {{
    gated = Mul (x, s)
    both = Concat <axis = 1> ({first}, {second})
    y = Conv <pads = [1,1,1,1]> (both, w)
}}"""


class QuantizedConvolution(OpRun):
    """The operator without the rounding of its source: weights in 8 bits alone."""

    op_domain = native.DOMAIN

    def _run(
        self, x, weights, scales, bias, gate=None, kernel=3, outputs=0, top=0, left=0, height=0, width=0,
        activation=0, slope=0.0,
    ):  # fmt: skip
        if gate is not None:
            x = np.concatenate([x * gate, x], axis=1)
        batch, inputs = x.shape[:2]
        room = np.zeros((batch, inputs, height + kernel - 1, width + kernel - 1))
        rows, columns = min(x.shape[2], room.shape[2] - top), min(x.shape[3], room.shape[3] - left)
        room[:, :, top : top + rows, left : left + columns] = x[:, :, :rows, :columns]
        plain = weights.astype(float).transpose(0, 3, 1, 2).reshape(-1, inputs, kernel, kernel)[:outputs]
        y = np.zeros((batch, outputs, height, width))
        for u in range(kernel):
            for v in range(kernel):
                y += np.einsum("oi,bihw->bohw", plain[:, :, u, v], room[:, :, u : u + height, v : v + width])
        y = y * scales[:, None, None] + bias[:, None, None]
        y = np.maximum(y, 0) if activation == 1 else np.where(y < 0, y * slope, y) if activation == 2 else y
        return (y.astype(np.float32),)


def in_steps(weight):
    """The same weights, rounded as the rewrite rounds them: then only the order of additions differs."""
    steps, scales = native_int8.quantized(weight)
    return steps * scales[:, None, None, None]


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("kernel", "pads"), [(3, "0,1,2,0"), (2, "1,1,1,1")])
@pytest.mark.parametrize("after", ["Relu", "LeakyRelu <alpha = 0.2>", "Sigmoid"])
def test_a_convolution_takes_its_activation_along(random, kernel, pads, after):
    weights = {"w": in_steps(random(40, 64, kernel, kernel) / 24), "b": random(40)}
    text = CONV.format(batch=1, height=9, width=14, pads=pads, stride=1, after=after)
    places, model, difference = proof(QuantizedConvolution, text, weights, native_int8.apply)
    assert places == 1
    assert operators(model) == ["QuantizedConvolution", *(["Sigmoid"] if after == "Sigmoid" else [])]
    assert difference < 2e-5


def test_strides_of_two_and_transposed_convolutions_are_recast(random):
    text = """g (float[1,64,8,8] x) => (float[1,64,8,8] y) {
        c = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w1)
        y = ConvTranspose <pads = [1,1,1,1], strides = [2,2]> (c, w2)
    }"""
    in_127ths = np.rint(random(64, 64, 4, 4) * 8) / 127
    in_127ths[0] = 1  # each phase of the transposed one has its own steps: here they are the same
    weights = {"w1": in_steps(random(64, 64, 4, 4) / 24), "w2": in_127ths.astype(np.float32)}
    places, model, difference = proof(QuantizedConvolution, text, weights, native_int8.apply)
    assert places == 2
    assert operators(model).count("QuantizedConvolution") == 5
    assert not {"Conv", "ConvTranspose"} & set(operators(model))
    assert difference < 1e-4


@pytest.mark.parametrize(("first", "second"), [("gated", "x"), ("x", "gated")])
def test_a_gated_source_is_read_once_and_its_gates_cost_no_pass(random, first, second):
    text = GATED.format(channels=64, first=first, second=second)
    weights = {"w": in_steps(random(32, 128, 3, 3) / 24)}
    places, model, difference = proof(QuantizedConvolution, text, weights, native_int8.apply)
    assert places == 1
    assert operators(model) == ["QuantizedConvolution"]
    first, *_, last = model.graph.node[0].input
    assert (first, last) == ("x", "s")
    assert difference < 2e-5


def test_channels_that_do_not_come_in_fours_keep_their_gate_outside(random):
    text = GATED.format(channels=66, first="gated", second="x")
    _, model, difference = proof(
        QuantizedConvolution, text, {"w": in_steps(random(32, 132, 3, 3) / 24)}, native_int8.apply
    )
    assert operators(model) == ["Mul", "Concat", "QuantizedConvolution"]
    assert difference < 2e-5


def test_weights_of_one_picture_stay_in_float(random):
    text = GATED.format(channels=64, first="gated", second="x")
    places, model, difference = proof(
        QuantizedConvolution, text, {"w": random(32, 128, 3, 3)}, gate_fold.apply, native_int8.apply
    )
    assert places == 0
    assert operators(model) == ["Mul", "Add", "Conv"]
    assert difference < 1e-3


def test_weights_are_a_quarter_of_the_size_and_each_output_has_its_own_scale(random):
    weight = random(32, 64, 3, 3) * np.logspace(-3, 3, 32, dtype=np.float32)[:, None, None, None]
    steps, scales = native_int8.quantized(weight)
    assert steps.dtype == np.int8
    assert np.abs(steps).max() == 127
    np.testing.assert_array_less(np.abs(steps * scales[:, None, None, None] - weight).max((1, 2, 3)), scales * 0.51)
    text = CONV.format(batch=1, height=8, width=8, pads="1,1,1,1", stride=1, after="Relu")
    _, model, _ = proof(QuantizedConvolution, text, {"w": weight, "b": random(32)}, native_int8.apply)
    assert sum(len(tensor.raw_data) for tensor in model.graph.initializer) == 32 * 64 * 9 + 2 * 32 * 4


def test_an_output_without_weights_gives_its_bias():
    steps, scales = native_int8.quantized(np.zeros((2, 4, 3, 3), np.float32))
    assert not steps.any()
    assert not scales.any()


def test_only_int8_of_a_fixed_size_on_cpus_takes_it():
    for target in ("onnx", "openvino"):
        assert "quantized-convolutions" in fitting(["native"], (256, 256), target, "int8")
        for precision in ("fp32", "fp16", "bf16"):
            assert "quantized-convolutions" not in fitting(["native"], (256, 256), target, precision)
        assert "quantized-convolutions" not in fitting(["native"], None, target, "int8")
    assert "quantized-convolutions" not in fitting(["native"], (256, 256), "tensorrt", "int8")


def test_a_calibration_serves_builds_with_and_without_native_kernels():
    assert calibration_rewrites(["native"]) == calibration_rewrites(["fast"])


@pytest.mark.parametrize(("inputs", "outputs", "places"), [(16, 16, 1), (15, 16, 0), (16, 15, 0)])
def test_narrow_convolutions_are_taken_too(random, inputs, outputs, places):
    text = CONV.replace("64", str(inputs)).format(batch=1, height=8, width=8, pads="1,1,1,1", stride=1, after="Relu")
    weights = {"w": in_steps(random(outputs, inputs, 3, 3)), "b": random(outputs)}
    assert proof(QuantizedConvolution, text, weights, native_int8.apply)[0] == places


def test_the_operator_counts_as_int8(random):
    text = CONV.format(batch=1, height=8, width=8, pads="1,1,1,1", stride=1, after="Relu")
    _, model, _ = proof(QuantizedConvolution, text, {"w": random(32, 64, 3, 3), "b": random(32)}, native_int8.apply)
    assert precision_counts(ir.from_proto(model)) == {"int8": 1}
