"""A machine with a simulated GPU, and plans for it."""

from __future__ import annotations

import dataclasses
import types
import weakref
from pathlib import Path
from typing import Any

import pytest

from fakes import cuda as simulation
from fakes.tensorrt_engines import FakeEngine
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.backends import SessionOptions, cuda, tensorrt
from harmonyrt.runtime.backends.tensorrt import engine as tensorrt_engine
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Parity


@dataclasses.dataclass
class World:
    """A machine with a fake GPU: opens sessions of engines whose plan is the text of their side."""

    cuda: Any  # SimulatedCuda
    folder: Path
    engines: list[FakeEngine]

    def spec(self, side=16, target="tensorrt", **needs) -> EngineSpec:
        path = self.folder / f"{target}-{side}.engine"
        path.write_text(str(side or 0))
        file = FileSpec(path.name, sha256_of(path), path.stat().st_size)
        needs = {"version": "10.4.0", "compute_capability": "8.9", "cuda": "12", "driver": "525"} | needs
        return EngineSpec(target, "fp32", (file,), {}, Parity(1, 0.0, 100.0, "", ""), needs)

    def open(self, side=16, **needs):
        spec = self.spec(side, **needs)
        return tensorrt.open_session(self.folder / spec.files[0].path, spec, None, SessionOptions())


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    machine = World(simulation.SimulatedCuda(), tmp_path, [])

    class Logger:
        Severity = types.SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal", WARNING="warning")

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, data):
            if data == b"broken":
                self.logger.log("error", "magic tag does not match")
                return None
            machine.engines.append(FakeEngine(machine.cuda, int(data), self.logger))
            return machine.engines[-1]

    trt = types.SimpleNamespace(
        __version__="10.4.0",
        ILogger=Logger,
        Runtime=Runtime,
        TensorIOMode=types.SimpleNamespace(INPUT="input"),
        ExecutionContextAllocationStrategy=types.SimpleNamespace(ON_PROFILE_CHANGE="on profile change"),
        nptype=lambda dtype: dtype,
    )
    monkeypatch.setattr(tensorrt_versions, "load", lambda target: trt)
    monkeypatch.setattr(tensorrt_versions, "check_installed", lambda *asked: None)
    monkeypatch.setattr(cuda, "open_cuda", lambda: machine.cuda)
    monkeypatch.setattr(tensorrt_engine, "_plans", weakref.WeakValueDictionary())
    return machine
