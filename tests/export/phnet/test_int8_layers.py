"""Layers of native INT8 engines go back to FP32 where the picture needs it, most harmful first."""

import numpy as np
import onnx
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.phnet.int8_layers import in_native_int8, layers_in_float
from harmonyrt.runtime import native

pytest.importorskip("openvino")
built = pytest.mark.skipif(native.library() is None, reason="needs the kernels in C++: run make native")

NETWORK = """<ir_version: 9, opset_import: ["" : 18]>
g (float[1,3,16,16] image, float[1,1,16,16] mask) => (float[1,3,16,16] output) {
    [inside] m = Mul(image, mask)
    [wide] a = Conv<pads=[1,1,1,1]>(m, w1)
    [loud] b = Conv<pads=[1,1,1,1]>(a, w2)
    [soft] c = Conv<pads=[1,1,1,1]>(b, w3)
    [last] d = Conv<pads=[1,1,1,1]>(c, w4)
    [sum] output = Add(image, d)
}"""


@pytest.fixture
def random():
    """random(*shape): the same normal numbers in every run."""
    rng = np.random.default_rng(0)
    return lambda *shape: rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def graph(random):
    """Four convolutions; `loud` and `soft` can be native. One channel of `loud` reads, and drowns, all others."""
    model = onnx.parser.parse_model(NETWORK)
    loud = random(64, 64, 3, 3) / 24
    soft = random(64, 64, 3, 3) / 24
    loud[0] *= 300  # a tile has one scale for all channels, so that `soft` loses the others
    soft[:, 0] = 0
    weights = {"w1": random(64, 3, 3, 3) / 5, "w2": loud, "w3": soft, "w4": random(3, 64, 3, 3) / 100}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in weights.items())
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def feeds():
    rng = np.random.default_rng(0)
    mask = np.zeros((1, 1, 16, 16), np.float32)
    mask[:, :, 3:12, 4:13] = 1
    return [{"image": rng.random((1, 3, 16, 16), np.float32), "mask": mask} for _ in range(2)]


def operators(model):
    return {node.name: node.op_type for node in model.graph}


@built
def test_all_layers_are_int8_where_the_picture_allows_it(graph, feeds):
    assert layers_in_float(graph, feeds, 1, least_db=0) == ()
    model, places = in_native_int8(graph)
    assert places == 2
    assert operators(model) == {
        "inside": "Mul", "wide": "Conv", "loud": "QuantizedConvolution", "soft": "QuantizedConvolution", "last": "Conv",
        "sum": "Add",
    }  # fmt: skip


@built
def test_the_most_harmful_layer_goes_back_to_fp32_native(graph, feeds):
    assert layers_in_float(graph, feeds, 1, least_db=30) == ("soft",)
    model, places = in_native_int8(graph, ("soft",))
    assert places == 1
    assert operators(model)["loud"] == "QuantizedConvolution"
    assert operators(model)["soft"] == "FusedConvolution"


@built
def test_without_a_layer_that_holds_there_is_no_int8(graph, feeds):
    with pytest.raises(WorkFailed, match="within 150 dB; build fp32"):
        layers_in_float(graph, feeds, 1, least_db=150)


def test_a_network_too_narrow_for_the_kernels_has_no_such_layer(random):
    model = onnx.parser.parse_model(NETWORK)
    weights = {"w1": random(8, 3, 3, 3), "w2": random(8, 8, 3, 3), "w3": random(8, 8, 3, 3), "w4": random(3, 8, 3, 3)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in weights.items())
    assert in_native_int8(onnx.shape_inference.infer_shapes(model))[1] == 0
