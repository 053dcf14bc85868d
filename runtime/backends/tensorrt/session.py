"""One TensorRT session: an execution context, a stream, and the buffers of one thread.

All work is put on streams: the host waits only where it is handed NumPy arrays. Launches are replayed from a CUDA
graph: TensorRT's are recorded here, after a plain run with the same shapes and addresses, or by the caller, as part of
something larger; TensorRT for RTX records its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import forks
from harmonyrt.runtime.backends import cuda, graphs
from harmonyrt.runtime.backends.device_arrays import DeviceArray, as_device_array, is_device_array
from harmonyrt.runtime.backends.device_memory import DeviceMemory
from harmonyrt.runtime.backends.tensorrt.cache import KernelCache
from harmonyrt.runtime.backends.tensorrt.engine import Plan
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME

_GRAPHS_KEPT = 8
_BINDINGS_REMEMBERED = 64


@dataclass
class _Held:
    """CUDA objects that a session must release; the execution contexts by their optimisation profile."""

    contexts: dict[int, Any]
    stream: Any
    event: Any
    graphs: dict[tuple, Any] = field(default_factory=dict)
    buffers: dict[str, _Buffer] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)


@dataclass
class _Buffer:
    """Memory of one input or output for arrays of the host: page-locked and device, of the same size."""

    pinned: int
    device: int
    size: int


class TensorRTSession:
    """An engine that is loaded and ready; belongs to one thread.

    Attributes:
        backend: ``"tensorrt"``.
        device: for example ``"cuda:0"``.
    """

    backend = "tensorrt"

    def __init__(self, plan: Plan, kernels: KernelCache | None) -> None:
        self.device = f"cuda:{plan.index}"
        self._plan, self._cuda = plan, plan.device
        self._cuda.set_device(plan.index)
        trt, engine = plan.trt, plan.engine
        self._names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._inputs = [n for n in self._names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._outputs = [n for n in self._names if n not in self._inputs]
        self._dtypes = {n: np.dtype(trt.nptype(engine.get_tensor_dtype(n))) for n in self._names}
        self._kernels = kernels
        self._static = all(size >= 0 for n in self._inputs for size in engine.get_tensor_shape(n))
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._warm: set[tuple] = set()
        self._refused = False  # to be recorded
        self._has_run = False  # with these shapes; what TensorRT sets up in its first run cannot be recorded
        self._profile = 0
        self._held = _Held({0: self._create_context()}, self._cuda.create_stream(), self._cuda.create_event())
        self._stream, self._event = self._held.stream, self._held.event
        forks.keep(self._held)
        forks.keep(plan)
        self._finalizer = weakref.finalize(self, _release, plan, self._held)

    @property
    def _context(self) -> Any:
        """The execution context of the profile in use: one for each, so that a change of profile costs nothing."""
        return self._held.contexts[self._profile]

    def _create_context(self) -> Any:
        engine, strategies = self._plan.engine, getattr(self._plan.trt, "ExecutionContextAllocationStrategy", None)
        own_profile = None if self._static or strategies is None else strategies.ON_PROFILE_CHANGE
        if self._plan.target == "tensorrt-rtx" and hasattr(engine, "create_runtime_config"):
            config = engine.create_runtime_config()
            if hasattr(self._plan.trt, "CudaGraphStrategy"):
                config.cuda_graph_strategy = self._plan.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            if own_profile is not None:
                config.set_execution_context_allocation_strategy(own_profile)
            if self._kernels is not None:
                self._kernels.attach(config)
            context = engine.create_execution_context(config)
        elif own_profile is not None:  # else each would hold the memory of the largest profile
            context = engine.create_execution_context(own_profile)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise WorkFailed(
                f"{DISPLAY_NAME[self._plan.target]} could not make an execution context: {self._plan.log.last_error};"
                " free memory of the GPU, or build a smaller size"
            )
        if self._kernels is not None:
            self._kernels.save()
        return context

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by input name in, arrays by output name out; waits for the result.

        Args:
            inputs: host arrays, or device arrays, in which case this is :meth:`run_on_device`.
        """
        if any(is_device_array(value) for value in inputs.values()):
            return self.run_on_device(inputs)  # type: ignore[return-value]
        self._cuda.set_device(self._plan.index)
        arrays = {name: np.ascontiguousarray(inputs[name]) for name in self._checked_names(inputs)}
        self._set_shapes({name: array.shape for name, array in arrays.items()})
        addresses = {}
        for name, array in arrays.items():
            self._check(name, array.dtype, array.shape)
            buffer = self._buffer(name, array.nbytes)
            ctypes.memmove(buffer.pinned, array.ctypes.data, array.nbytes)
            self._cuda.copy(buffer.device, buffer.pinned, array.nbytes, self._stream)
            addresses[name] = buffer.device
        results = {}
        for name in self._outputs:
            results[name] = np.empty(self._output_shape(name), self._dtypes[name])
            addresses[name] = self._buffer(name, results[name].nbytes).device
        self._launch(addresses)
        for name, result in results.items():
            self._cuda.copy(self._held.buffers[name].pinned, addresses[name], result.nbytes, self._stream)
        self._cuda.synchronize(self._stream)
        for name, result in results.items():
            ctypes.memmove(result.ctypes.data, self._held.buffers[name].pinned, result.nbytes)
        if self._kernels is not None:
            self._kernels.save()
        return results

    def run_on_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None, stream: int = cuda.LEGACY_STREAM
    ) -> dict[str, DeviceArray]:
        """Run once on arrays of this session's GPU, without copies and without waiting.

        The work is ordered on `stream` as if it ran there: it waits for what the caller put there before, and what the
        caller puts there afterwards waits for it.

        While the caller records `stream` into a CUDA graph, the work is recorded with it instead of run: see
        :attr:`recordable`. That needs a plain run before, and all outputs given. The session must outlive the graph,
        and must not run elsewhere while the graph does: both work in the same memory.

        Args:
            inputs: C-contiguous device arrays by input name: `__cuda_array_interface__` or DLPack.
            outputs: device arrays to write into, by output name; None for new ones. Freeing device memory makes the
                GPU wait, so a loop is faster with its own outputs.
            stream: handle of the caller's CUDA stream; 0 for the default one.

        Returns:
            The outputs; new ones offer `__cuda_array_interface__` and DLPack and free their memory when dropped.

        Raises:
            HarmonyError: arrays that do not fit, or a recording that this session cannot be part of.
            WorkFailed: TensorRT or CUDA failed.
        """
        self._cuda.set_device(self._plan.index)
        recorded = stream != cuda.LEGACY_STREAM and self._cuda.is_capturing(stream)
        given = {name: as_device_array(inputs[name], name, stream) for name in self._checked_names(inputs)}
        shapes = {name: array.shape for name, array in given.items()}
        if recorded:
            self._check_recordable(shapes, outputs or {})
        self._set_shapes(shapes)
        arrays = {}
        for name in self._outputs:
            if outputs is not None and name in outputs:
                arrays[name] = as_device_array(outputs[name], name, stream)
            else:
                arrays[name] = self._new_array(self._output_shape(name), self._dtypes[name])
        for name, array in (*given.items(), *arrays.items()):
            self._check(name, array.dtype, array.shape)
            if array.device != self._plan.index:
                raise HarmonyError(f"{name} lies on cuda:{array.device}, this session runs on {self.device}: move it")
        for waited_for in {stream, *(a.stream for a in given.values() if a.stream is not None)}:
            self._order(waited_for, self._stream)
        addresses = {name: array.address for name, array in (*given.items(), *arrays.items())}
        launch = self._enqueue if recorded else self._launch
        try:
            launch(addresses)
        except WorkFailed:
            with contextlib.suppress(WorkFailed):  # the part that was put there still uses the caller's memory
                self._order(self._stream, stream)
            raise
        self._order(self._stream, stream)
        ready = cuda.waiting(self._cuda, self._plan.index, stream)
        return {name: replace(array, stream=stream, ready=ready) for name, array in arrays.items()}

    @property
    def recordable(self) -> bool:
        """Whether a caller may record this session's work into a CUDA graph: TensorRT's engines of fixed shapes.

        TensorRT for RTX decides for itself what it records.
        """
        return self._static and self._plan.target == "tensorrt" and not self._refused

    @property
    def stream(self) -> Any:
        """The stream that runs are put on. What was recorded runs elsewhere, and has to be ordered with it."""
        return self._stream

    def input_type(self, name: str) -> np.dtype:
        """What an input must be: TensorRT 8.6 takes int32 where the graph has int64."""
        return self._dtypes[name]

    def another(self) -> TensorRTSession:
        """Open another execution context of the same plan, with a separate stream and buffers."""
        kernels = None if self._kernels is None else KernelCache(self._kernels.cache, self._kernels.key)
        return type(self)(self._plan, kernels)

    def close(self) -> None:
        """Give the context and the buffers back; also happens when the session is dropped."""
        if self._finalizer.alive:
            self._finalizer()

    # --- shapes

    def _check_recordable(self, shapes: dict[str, tuple[int, ...]], outputs: Mapping[str, Any]) -> None:
        missing = ", ".join(name for name in self._outputs if name not in outputs)
        if not self.recordable:
            kinds = "engines of dynamic shapes, of TensorRT for RTX, and those that refused it once"
            raise HarmonyError(f"{kinds} cannot be recorded into your CUDA graph: end the recording, then run it")
        if not self._has_run or shapes != self._shapes:
            raise HarmonyError("what was never run cannot be recorded: run it once with these shapes before")
        if missing:
            raise HarmonyError(f"a recording needs memory that outlives it for {missing}: give outputs")

    def _checked_names(self, inputs: Mapping[str, Any]) -> list[str]:
        if set(inputs) != set(self._inputs):
            raise HarmonyError(f"the engine's inputs are {', '.join(self._inputs)}; given were {', '.join(inputs)}")
        return self._inputs

    def _check(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        expected = self._shapes.get(name) or self._output_shape(name)
        if dtype != self._dtypes[name] or tuple(shape) != expected:
            raise HarmonyError(
                f"{name} is {dtype} {tuple(shape)}, the engine takes {self._dtypes[name]} {expected}: convert it"
            )

    def _set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Tell the context new shapes; graphs belong to the shapes that they were recorded with."""
        if shapes == self._shapes:
            return
        engine = self._plan.engine
        for name, shape in shapes.items():
            fixed = tuple(engine.get_tensor_shape(name))
            if len(fixed) != len(shape) or any(f not in (-1, s) for f, s in zip(fixed, shape, strict=True)):
                raise HarmonyError(f"{name} has shape {shape}, the engine takes {fixed}: resize it, or build that size")
        self._drop_graphs()
        if not self._static:
            self._choose_profile(shapes)
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise HarmonyError(f"{name} of shape {shape} was refused: {self._plan.log.last_error}; build that size")
        self._shapes, self._has_run = dict(shapes), False

    def _choose_profile(self, shapes: dict[str, tuple[int, ...]]) -> None:
        engine = self._plan.engine
        ranges = []
        for profile in range(engine.num_optimization_profiles):
            limits = {name: engine.get_tensor_profile_shape(name, profile) for name in shapes}
            if all(
                low <= size <= high
                for name, (smallest, _, largest) in limits.items()
                for low, size, high in zip(smallest, shapes[name], largest, strict=True)
            ):
                self._use_profile(profile)
                return
            smallest, _, largest = limits[self._inputs[0]]
            ranges.append(f"{tuple(smallest)} to {tuple(largest)}")
        raise HarmonyError(
            f"{self._inputs[0]} of shape {shapes[self._inputs[0]]} is outside what the engine was built for"
            f" ({'; '.join(ranges)}): give fewer or smaller pictures, or build that size"
        )

    def _use_profile(self, profile: int) -> None:
        if profile not in self._held.contexts:
            context = self._create_context()
            if not context.set_optimization_profile_async(profile, int(self._stream)):
                raise WorkFailed(
                    f"TensorRT could not choose profile {profile}: {self._plan.log.last_error}; free memory of the GPU"
                )
            self._held.contexts[profile] = context
        self._profile = profile

    def _output_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    # --- memory

    def _buffer(self, name: str, size: int) -> _Buffer:
        buffer = self._held.buffers.get(name)
        if buffer is None or buffer.size < size:
            self._drop_graphs()  # they hold the old address
            if buffer is not None:
                self._cuda.synchronize(self._stream)
                del self._held.buffers[name]
                _free(self._cuda, buffer)
            device = self._cuda.allocate(size)
            buffer = self._held.buffers[name] = _Buffer(self._cuda.allocate_pinned(size), device, size)
        return buffer

    def _new_array(self, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return DeviceArray(0, shape, dtype, self._plan.index).holding(DeviceMemory(self._cuda, size))

    # --- launching

    def _order(self, first: Any, then: Any) -> None:
        """What is put on `then` from here on waits for what is on `first`."""
        self._cuda.record(self._event, first)
        self._cuda.wait(then, self._event)

    def _launch(self, addresses: dict[str, int]) -> None:
        bindings = tuple(addresses.items())
        graph = self._held.graphs.get(bindings)
        if graph is not None:
            self._cuda.launch(graph, self._stream)
            return
        if bindings in self._warm and self.recordable:
            graph = self._recorded(addresses)
        if graph is not None:
            if len(self._held.graphs) >= _GRAPHS_KEPT:
                self._cuda.synchronize(self._stream)
                self._cuda.destroy_graph(self._held.graphs.pop(next(iter(self._held.graphs))))
            self._held.graphs[bindings] = graph
            self._cuda.launch(graph, self._stream)
            return
        self._enqueue(addresses)
        self._has_run = True
        if len(self._warm) >= _BINDINGS_REMEMBERED:
            self._warm.clear()
        self._warm.add(bindings)

    def _recorded(self, addresses: dict[str, int]) -> Any:
        """A graph of one run; None, for good, where it is refused."""
        engine = f"an engine of {DISPLAY_NAME[self._plan.target]}"
        recorded = graphs.record_if_possible(self._cuda, self._stream, lambda: self._enqueue(addresses), engine)
        self._refused = recorded is None
        return recorded[0] if recorded else None

    def _enqueue(self, addresses: dict[str, int]) -> None:
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        if not self._context.execute_async_v3(int(self._stream)):
            raise WorkFailed(f"TensorRT could not run the engine: {self._plan.log.last_error}; try again or rebuild it")

    def _drop_graphs(self) -> None:
        self._warm.clear()
        if self._held.graphs:
            self._cuda.synchronize(self._stream)
        while self._held.graphs:
            self._cuda.destroy_graph(self._held.graphs.popitem()[1])


def _free(device: cuda.Cuda, buffer: _Buffer) -> None:
    device.free(buffer.device)
    device.free_pinned(buffer.pinned)


def _release(plan: Plan, held: _Held) -> None:
    """Give back in the order in which things depend on each other; at the end of a process CUDA may be gone."""
    if os.getpid() != held.process:  # a forked child, which CUDA does not serve
        return
    with contextlib.suppress(WorkFailed):
        plan.device.set_device(plan.index)
        plan.device.synchronize(held.stream)
        for graph in held.graphs.values():
            plan.device.destroy_graph(graph)
        held.contexts.clear()
        for buffer in held.buffers.values():
            _free(plan.device, buffer)
        plan.device.destroy_event(held.event)
        plan.device.destroy_stream(held.stream)
    held.graphs.clear()
    held.buffers.clear()
