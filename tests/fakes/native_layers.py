"""For tests of the native operators: three layers as PHNet has them, and a rewrite held to its operator's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from harmonyrt.export.build.tracing import tidy

_LAYERS = """<ir_version: 9, opset_import: ["": 18]>
g (float[{batch},{inputs},{height},{width}] x, float[{batch},{inputs},1,1] s) => (float[b,o,h,v] y) {{
    gated = Mul (x, s)
    both = Concat <axis = 1> (gated, x)
    c = Conv <pads = [1,1,1,1]> (both, w1, b)
    r = Relu (c)
    d = Conv <pads = [1,1,1,1], strides = [2,2]> (r, w2, b)
    e = ConvTranspose <pads = [1,1,1,1], strides = [2,2]> (d, w3, b)
    y = LeakyRelu (e)
}}"""


def three_layers(inputs: int, height: int, width: int, batch: int = 1) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """A gated convolution, one of stride 2 and a transposed one, all of 64 channels; and what to feed them with."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32) / 24  # noqa: E731
    weights = {"w1": draw(64, 2 * inputs, 3, 3), "w2": draw(64, 64, 4, 4), "w3": draw(64, 64, 4, 4), "b": draw(64)}
    model = _model(_LAYERS.format(batch=batch, inputs=inputs, height=height, width=width), weights)
    feeds = {"x": draw(batch, inputs, height, width), "s": draw(batch, inputs, 1, 1)}
    return ir.from_proto(onnx.shape_inference.infer_shapes(model)), feeds


def proof(
    operator: type[OpRun], text: str, weights: Mapping[str, np.ndarray], *passes: Callable[[ir.Model], int]
) -> tuple[int, onnx.ModelProto, float]:
    """Places that the last pass rewrote, the graph after it, and the largest difference of the outputs."""
    model = ir.from_proto(_model(f'<ir_version: 9, opset_import: ["": 18]> {text}', weights))
    tidy(model)
    before = ir.to_proto(model)
    places = 0
    for one in passes:
        places = one(model)
        tidy(model)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        for value in before.graph.input
    }
    expected = onnxruntime.InferenceSession(before.SerializeToString()).run(None, feeds)[0]
    found = ReferenceEvaluator(after, new_ops=[operator]).run(None, feeds)[0]
    return places, after, float(np.abs(expected - found).max())


def _model(text: str, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(text)
    parsed.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in weights.items())
    return parsed
