"""Q/DQ in the style of each target; what was not chosen reads what it read before."""

import numpy as np
import onnx
import onnxruntime
import pytest

from harmonyrt.calibration.qdq import QDQ_STYLES, style_of, write_qdq
from harmonyrt.common import HarmonyError

RANGES = {
    "image": (0.0, 1.0),
    "a": (-3.0, 3.0),
    "c": (0.0, 4.0),
    "e": (0.0, 3.0),
    "f": (-1.0, 3.0),
    "h": (-1.0, 1.0),
    "r": (-1.0, 1.0),
}
LAYERS = ("first", "middle", "up", "last")


def written(network, target, layers=LAYERS):
    return write_qdq(network, layers, RANGES, QDQ_STYLES[target])


def made_by(model, name):
    return next(node for node in model.graph.node if name in node.output)


def node(model, name):
    return next(node for node in model.graph.node if node.name == name)


def constant(model, name):
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def int8_layers(model):
    return [
        n.name
        for n in model.graph.node
        if n.op_type.startswith("Conv") and made_by(model, n.input[0]).op_type == "DequantizeLinear"
    ]


@pytest.mark.parametrize("target", QDQ_STYLES)
def test_the_graph_still_does_the_same(network, feeds, target):
    def run(model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return session.run(None, feeds[0])[0]

    assert np.abs(run(written(network, target)) - run(network)).max() < 0.05


def test_onnxruntime_leaves_transposed_convolutions(network):
    assert int8_layers(written(network, "onnx")) == ["first", "middle", "last"]
    assert int8_layers(written(network, "openvino")) == list(LAYERS)
    assert int8_layers(written(network, "tensorrt")) == list(LAYERS)


@pytest.mark.parametrize(("target", "kind"), [("onnx", np.uint8), ("openvino", np.uint8), ("tensorrt", np.int8)])
def test_activations_are_signed_only_for_tensorrt(network, target, kind):
    model = written(network, target)
    quantize = made_by(model, made_by(model, node(model, "last").input[0]).input[0])
    zero = constant(model, quantize.input[2])
    assert zero.dtype == kind
    assert (zero == 0) == (target == "tensorrt")


@pytest.mark.parametrize("target", QDQ_STYLES)
def test_weights_have_a_scale_for_each_channel(network, target):
    model = written(network, target)
    for name, axis, channels in (("middle", 0, 16), ("last", 0, 3)):
        dequantize = made_by(model, node(model, name).input[1])
        assert constant(model, dequantize.input[1]).shape == (channels,)
        assert [a.i for a in dequantize.attribute if a.name == "axis"] == [axis]


def test_tensorrt_gets_weights_and_biases_in_fp32(network):
    model = written(network, "tensorrt")
    last = node(model, "last")
    quantize = made_by(model, made_by(model, last.input[1]).input[0])
    assert quantize.op_type == "QuantizeLinear"
    assert constant(model, quantize.input[0]).dtype == np.float32
    assert constant(model, last.input[2]).dtype == np.float32


def test_only_onnxruntime_gets_quantized_results(network):
    def after(target):
        model = written(network, target)
        return {n.op_type for n in model.graph.node if node(model, "first").output[0] in n.input}

    assert after("onnx") == {"QuantizeLinear"}
    assert after("openvino") == after("tensorrt") == {"InstanceNormalization"}


@pytest.mark.parametrize("target", QDQ_STYLES)
def test_statistics_and_the_final_sum_read_exact_tensors(network, target):
    model = written(network, target)
    assert node(model, "mean").input[0] == "c"
    assert node(model, "sum").input[0] == "image"
    assert node(model, "norm").input[2] == "zeros"


def test_no_layer_no_change(network):
    assert write_qdq(network, [], RANGES, QDQ_STYLES["onnx"]) == network
    assert write_qdq(network, ["up"], RANGES, QDQ_STYLES["onnx"]) == network


def test_a_calibration_of_another_graph_is_refused(network):
    with pytest.raises(HarmonyError, match="has a layer 'other' that this graph does not have; calibrate again"):
        write_qdq(network, ["other"], RANGES, QDQ_STYLES["onnx"])
    with pytest.raises(HarmonyError, match="no range for the tensor 'a'; calibrate again"):
        write_qdq(network, ["first"], {"image": (0.0, 1.0)}, QDQ_STYLES["onnx"])


def test_a_target_without_int8_is_refused():
    with pytest.raises(HarmonyError, match="INT8 cannot be built for target 'tensorrt-rtx'"):
        style_of("tensorrt-rtx")
