"""A small network with a picture, a mask and an output, and composites for it."""

import numpy as np
import onnx
import onnx.parser
import pytest

SIDE = 32
NETWORK = """<ir_version: 8, opset_import: ["" : 18]>
g (float[1,3,32,32] image, float[1,1,32,32] mask) => (float[1,3,32,32] output) {
    [first] a = Conv<pads=[1,1,1,1]>(image, w1, zeros)
    [norm] b = InstanceNormalization(a, ones, zeros)
    [relu] c = Relu(b)
    [middle] d = Conv<pads=[1,1,1,1]>(c, w2, zeros)
    [relu_of_middle] e = Relu(d)
    [mean] m = ReduceMean(c)
    [centred] f = Sub(e, m)
    [up] h = ConvTranspose<pads=[1,1,1,1], strides=[1,1]>(f, w3)
    [last] r = Conv<pads=[1,1,1,1]>(h, w4, bias)
    [sum] output = Add(image, r)
}"""


@pytest.fixture
def network() -> onnx.ModelProto:
    """Three convolutions and a transposed one, a norm and a statistic; the bias of zeros is shared with the norm."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3 / np.sqrt(shape[1] * 9)).astype(np.float32)

    model = onnx.parser.parse_model(NETWORK)
    constants = {
        "w1": weight(16, 3, 3, 3) * 3,
        "w2": weight(16, 16, 3, 3) * 3,
        "w3": weight(16, 16, 3, 3),
        "w4": weight(3, 16, 3, 3),
        "bias": np.float32([0.02, 0, -0.02]),
        "zeros": np.zeros(16, np.float32),
        "ones": np.ones(16, np.float32),
    }
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.fixture
def feeds() -> list[dict[str, np.ndarray]]:
    """Six pictures, a disc of foreground in each."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    for number in range(6):
        smooth = np.kron(rng.random((3, 8, 8)), np.ones((4, 4)))
        mask = (y - 16) ** 2 + (x - 10 - number) ** 2 < 80
        found.append({"image": smooth[None].astype(np.float32), "mask": mask[None, None].astype(np.float32)})
    return found
