"""Networks, traces and a tiny checkpoint; a trace costs ten seconds, so each is made once."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from harmonyrt.export.phnet import to_onnx
from harmonyrt.models import PHNet, PHNetConfig, load_phnet

STATE_DICTS = {"phnet": "phnet_state_dict.json", "phnet_iharmony4": "phnet_iharmony4_state_dict.json"}
TINY = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(4, 3, 2, 1))


def run_model(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    """Run a graph once on ONNX Runtime's CPU provider, on two threads."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 2
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


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
def golden_trace(golden_network):
    """Its trace."""

    @functools.cache
    def build(model: str):
        return to_onnx.trace(golden_network(model))

    return build


@pytest.fixture(scope="session")
def golden_graph(golden_trace):
    """golden_graph(model, size, rewrites): its FP32 graph, by default the one that is quick to load; size None: any."""

    @functools.lru_cache(maxsize=6)
    def build(model: str, size: tuple[int, int] | None, rewrites=to_onnx.rewriting.LOW_MEMORY) -> onnx.ModelProto:
        return to_onnx.export_phnet(golden_trace(model), size, rewrites)

    return build


@pytest.fixture(scope="session")
def tiny_checkpoint(made_once) -> Path:
    """A PHNet of 40 thousand parameters with random weights, which builds in moments."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        state = PHNet(TINY).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "tiny.safetensors")

    return made_once("tiny-checkpoint", make) / "tiny.safetensors"


@pytest.fixture(scope="session")
def tiny_trace(tiny_checkpoint):
    """The trace of the tiny network, made when first called."""
    trace = to_onnx.trace
    return functools.cache(lambda: trace(load_phnet(tiny_checkpoint, "sigmoid")))


@pytest.fixture(scope="session")
def tiny_engines(tiny_checkpoint, made_once):
    """Folder with the tiny network at 64 px and at any size, FP32, ONNX; what the build said: JSON, and on stderr.

    Not to be changed: other tests read it too.
    """
    root = Path(__file__).parents[2]

    def make(output: Path) -> None:
        command = [sys.executable, str(root / "export" / "build_engines.py"), "phnet", "--threads", "2", "--json"]
        command += ["--checkpoint", str(tiny_checkpoint), "--output", str(output)]
        ended = subprocess.run([*command, "--sizes", "64", "dynamic"], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        (output / "said.json").write_text(ended.stdout)
        (output / "said.txt").write_text(ended.stderr)

    output = made_once("tiny-engines", make)
    return output, json.loads((output / "said.json").read_text()), (output / "said.txt").read_text()


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
