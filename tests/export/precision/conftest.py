"""Graphs of a few nodes, and PHNet's own graphs."""

import functools

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

HEADER = '<ir_version: 8, opset_import: ["" : 18]>\n'


@pytest.fixture
def graph():
    """onnx_ir.Model from a graph's text; weights from arrays by name."""

    def build(text: str, **weights) -> ir.Model:
        model = onnx.parser.parse_model(HEADER + text)
        for name, values in weights.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return ir.from_proto(model)

    return build


@pytest.fixture(scope="session")
def run():
    """Run a model on the CPU: feeds by name in, the first output out."""

    def run(model: ir.Model, **feeds) -> np.ndarray:
        return session(model).run(None, feeds)[0]

    return run


def session(model: ir.Model) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 2
    settings.log_severity_level = 3
    message = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(message, settings, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def phnet_graph(golden_trace):
    """The FP32 graph of golden weights, for every size and batch."""
    from harmonyrt.export.phnet.to_onnx import export_phnet

    return functools.cache(lambda model: ir.from_proto(export_phnet(golden_trace(model), None)))


@pytest.fixture(scope="session")
def phnet_session(phnet_graph):
    """The typed graph of golden weights, simulated: a session for each (model, precision)."""
    from harmonyrt.export.precision import simulate, typed_graph

    @functools.cache
    def build(model: str, precision: str) -> onnxruntime.InferenceSession:
        graph = phnet_graph(model)
        return session(graph if precision == "fp32" else simulate(typed_graph(graph, precision)))

    return build
