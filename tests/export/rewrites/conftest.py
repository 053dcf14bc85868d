"""Rewrites are proven on graphs of a few nodes, written as text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from harmonyrt.export.build.tracing import tidy


class Proof:
    """A tiny graph before and after a rewrite.

    Attributes:
        places: what the rewrite said it changed.
        operators: of the rewritten graph, with their count.
        difference: largest absolute difference of the outputs, for a random input.
        model: the rewritten graph.
    """

    def __init__(self, text: str, weights: dict[str, np.ndarray], apply) -> None:
        parsed = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> {text}')
        parsed.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in weights.items())
        model = ir.from_proto(parsed)
        tidy(model)
        before = ir.to_proto(model)
        self.places = apply(model)
        tidy(model)
        self.model = ir.to_proto(model)
        onnx.checker.check_model(self.model, full_check=True)
        self.operators = Counter(node.op_type for node in self.model.graph.node)
        self.difference = float(np.abs(_run(before) - _run(self.model)).max())


def _run(model: onnx.ModelProto) -> np.ndarray:
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        for value in model.graph.input
    }
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), settings).run(None, feeds)[0]


@pytest.fixture(scope="session")
def prove():
    """prove(text, weights, apply) -> Proof."""
    return Proof


@pytest.fixture(scope="session")
def random():
    """random(2, 3) -> float32 array of that shape, the same for every call with it."""
    return lambda *shape: np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
