"""Graphs of a few nodes, and PHNet's own graphs."""

import dataclasses
import functools
import warnings

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

HEADER = '<ir_version: 8, opset_import: ["" : 18]>\n'


@pytest.fixture
def graph():
    """onnx.ModelProto from a graph's text; weights from arrays by name."""

    def build(text: str, **weights) -> onnx.ModelProto:
        model = onnx.parser.parse_model(HEADER + text)
        for name, values in weights.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return model

    return build


@pytest.fixture(scope="session")
def run():
    """Run a model on the CPU: feeds by name in, the first output out."""

    def run(model: onnx.ModelProto, **feeds) -> np.ndarray:
        return session(model).run(None, feeds)[0]

    return run


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 2
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def phnet_graph(golden):
    """The FP32 graph of golden weights, for every size and batch."""
    import torch

    from harmonyrt.export.phnet.to_onnx import export_phnet, trace
    from harmonyrt.models import PHNet, PHNetConfig

    @functools.cache
    def build(model: str) -> onnx.ModelProto:
        weights, config = golden.weights(f"{model}_state_dict.json")
        known = {field.name for field in dataclasses.fields(PHNetConfig)}
        network = PHNet(PHNetConfig(**{key: value for key, value in config.items() if key in known}))
        network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export_phnet(trace(network.eval()), None)

    return build


@pytest.fixture(scope="session")
def phnet_session(phnet_graph):
    """The typed graph of golden weights, simulated: a session for each (model, precision)."""
    from harmonyrt.export.precision import simulate, typed_graph

    @functools.cache
    def build(model: str, precision: str) -> onnxruntime.InferenceSession:
        graph = phnet_graph(model)
        return session(graph if precision == "fp32" else simulate(typed_graph(graph, precision)))

    return build
