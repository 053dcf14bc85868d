"""Golden networks, their traces and graphs."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from harmonyrt.export.phnet import to_onnx
from harmonyrt.models import PHNet, PHNetConfig

STATE_DICTS = {"phnet": "phnet_state_dict.json", "phnet_iharmony4": "phnet_iharmony4_state_dict.json"}


_sessions: dict[bytes, onnxruntime.InferenceSession] = {}
"""The last two, by their graphs: to open 40 million parameters costs more than to run them on a small picture."""


def run_model(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    """Run a graph once on ONNX Runtime's CPU provider, on two threads."""
    message = model.SerializeToString()
    key = hashlib.sha256(message).digest()
    if key not in _sessions:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 2
        settings.log_severity_level = 3
        for old in list(_sessions)[:-1]:
            del _sessions[old]
        _sessions[key] = onnxruntime.InferenceSession(message, settings, providers=["CPUExecutionProvider"])
    return _sessions[key].run(None, feeds)


@pytest.fixture(scope="session", autouse=True)
def _traces(kept_traces):
    """Every build of this room, also in fixtures."""


@pytest.fixture(scope="session")
def run_onnx():
    """run_onnx(model, image=..., mask=...) -> list of outputs."""
    return run_model


@pytest.fixture(scope="session")
def golden_network(golden):
    """Golden network by the name that a case's `meta` gives it."""

    @functools.cache
    def build(model: str) -> PHNet:
        weights, config = golden.weights(STATE_DICTS[model])
        network = PHNet(PHNetConfig(**config))
        network.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()}, strict=True)
        return network.eval().requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def golden_trace(golden_network, kept_traces):
    """Its trace."""
    return functools.cache(lambda model: to_onnx.trace(golden_network(model)))


@pytest.fixture(scope="session")
def golden_graph(golden_trace):
    """golden_graph(model, size, rewrites): its FP32 graph, by default the one that is quick to load; size None: any."""

    @functools.lru_cache(maxsize=6)
    def build(model: str, size: tuple[int, int] | None, rewrites=to_onnx.rewriting.LOW_MEMORY) -> onnx.ModelProto:
        return to_onnx.export_phnet(golden_trace(model), size, rewrites)

    return build


@pytest.fixture
def command(capsys):
    """command("phnet", "--sizes", ...) -> (exit code, stdout, stderr) of `harmonyrt build`."""
    from harmonyrt.export.build_engines import main

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def build(command, monkeypatch, tiny_trace):
    """The same for builds that get as far as the network: they share a trace, which takes ten seconds."""
    monkeypatch.setattr(to_onnx, "trace", lambda network: tiny_trace())
    return command
