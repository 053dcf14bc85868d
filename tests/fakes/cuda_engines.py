"""Engines of fixed shapes over :mod:`fakes.cuda`, and our sessions over them: they compute with NumPy."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fakes.cuda import SimulatedCuda, view
from harmonyrt.common import WorkFailed
from harmonyrt.runtime.backends.tensorrt.engine import Plan
from harmonyrt.runtime.backends.tensorrt.session import TensorRTSession


@dataclass(eq=False)
class SimulatedEngine:
    """An engine of fixed shapes that computes with NumPy.

    Attributes:
        cuda: where it runs.
        inputs: shape and type by name.
        outputs: likewise.
        compute: arrays by name in, arrays by name out.
    """

    cuda: SimulatedCuda
    inputs: dict[str, tuple[tuple[int, ...], type]]
    outputs: dict[str, tuple[tuple[int, ...], type]]
    compute: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    contexts: list[SimulatedContext] = field(default_factory=list)

    @property
    def num_io_tensors(self):
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, i):
        return [*self.inputs, *self.outputs][i]

    def get_tensor_mode(self, name):
        return "input" if name in self.inputs else "output"

    def get_tensor_dtype(self, name):
        return {**self.inputs, **self.outputs}[name][1]

    def get_tensor_shape(self, name):
        return {**self.inputs, **self.outputs}[name][0]

    def create_execution_context(self, config=None):
        self.contexts.append(SimulatedContext(self))
        return self.contexts[-1]


class SimulatedContext:
    """Sets itself up when it runs first, which no recording survives; `fails` lets it fail."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine, self._addresses, self._ready = engine, {}, False
        self.fails: Callable[[], bool] = lambda: False
        self.bindings: list[tuple[int, ...]] = []

    def set_input_shape(self, name, shape):
        return tuple(shape) == self._engine.get_tensor_shape(name)

    def get_tensor_shape(self, name):
        return self._engine.get_tensor_shape(name)

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        engine, addresses = self._engine, dict(self._addresses)
        try:
            if not self._ready:
                engine.cuda.unsafe("cudaMalloc")
                self._ready = True
            if self.fails():
                return False
            engine.cuda.enqueue(stream, lambda: self._work(addresses), *addresses.values())
        except WorkFailed:
            return False
        self.bindings.append(tuple(addresses.values()))
        return True

    def _work(self, addresses: dict[str, int]) -> None:
        engine = self._engine
        found = engine.compute({n: view(addresses[n], *spec).copy() for n, spec in engine.inputs.items()})
        assert set(found) == set(engine.outputs)
        for name, spec in engine.outputs.items():
            view(addresses[name], *spec)[:] = found[name]


def open_session(engine: SimulatedEngine, target: str = "tensorrt", index: int = 0) -> TensorRTSession:
    """Our session over an engine of this file."""
    trt = types.SimpleNamespace(TensorIOMode=types.SimpleNamespace(INPUT="input"), nptype=lambda dtype: dtype)
    log = types.SimpleNamespace(last_error="it does not like the stream")
    return TensorRTSession(Plan(trt, target, engine, None, log, engine.cuda, index, "Fake RTX"), None)
