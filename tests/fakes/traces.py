"""Networks traced and built once for all workers of a test run: a trace takes ten seconds of a core."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kept_traces(made_once):
    """Builds in this process take the trace of a module from the file that the first worker wrote of it."""
    import onnx
    import onnx_ir as ir

    from harmonyrt.export.build.tracing import traced
    from harmonyrt.export.diffharmony import components
    from harmonyrt.export.phnet import to_onnx

    def kept(*given, **named) -> ir.Model:
        key = _key(*given, **named)
        if key is None:
            return traced(*given, **named)
        folder = made_once(f"trace-{key}", lambda f: onnx.save(ir.to_proto(traced(*given, **named)), f / "trace.onnx"))
        return ir.from_proto(onnx.load(folder / "trace.onnx"))

    with pytest.MonkeyPatch.context() as patch:
        for room in (components, to_onnx):
            patch.setattr(room, "traced", kept)
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The files of a run's traces take a gigabyte, and pytest keeps the folders of three runs."""
    if not hasattr(session.config, "workerinput"):  # the last process to end
        for folder in session.config._tmp_path_factory.getbasetemp().glob("once-trace-*/"):
            shutil.rmtree(folder, ignore_errors=True)


def _key(module, inputs, outputs, dynamic_shapes=None) -> str | None:
    """What a trace depends on: code and attributes of every module in it, weights, inputs; None where it is unclear."""
    from torch import Tensor, nn

    digest, of_torch = hashlib.sha256(), vars(nn.Module()).keys() - {"training"}
    plain = [(name, type(part), _said({k: v for k, v in vars(part).items() if k not in of_torch}))
             for name, part in module.named_modules()]  # fmt: skip
    digest.update(repr((plain, list(outputs), dynamic_shapes)).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers(), *inputs.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    unclear = any(isinstance(v, Tensor) for part in module.modules() for v in vars(part).values())
    return None if unclear or " at 0x" in repr((plain, dynamic_shapes)) else digest.hexdigest()[:16]


def _said(value):
    """A function by its name instead of its address."""
    if isinstance(value, dict):
        return {key: _said(one) for key, one in value.items()}
    named = callable(value) and "<" not in getattr(value, "__qualname__", "<")
    return f"{value.__module__}.{value.__qualname__}" if named else value


@pytest.fixture(scope="session")
def tiny_checkpoint(made_once) -> Path:
    """A PHNet of 40 thousand parameters with random weights, which builds in moments."""
    torch = pytest.importorskip("torch", reason="PyTorch makes the checkpoint")
    from safetensors.torch import save_file

    from harmonyrt.models import PHNet, PHNetConfig

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        state = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(4, 3, 2, 1))).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "tiny.safetensors")

    return made_once("tiny-checkpoint", make) / "tiny.safetensors"


@pytest.fixture(scope="session")
def tiny_trace(tiny_checkpoint, kept_traces):
    """The trace of the tiny network, made when first called."""
    from harmonyrt.export.phnet.to_onnx import trace
    from harmonyrt.models import load_phnet

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
