"""ONNX Runtime on an NVIDIA GPU: the caller's arrays in device memory, on the caller's stream, and CUDA graphs.

With cuda-python a session has a CUDA stream of its own, ordered behind and before the caller's by events: the host
waits only for NumPy arrays. Without cuda-python ONNX Runtime works on its own stream and every call waits.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import forks
from harmonyrt.runtime.backends import cuda, failures
from harmonyrt.runtime.backends.device_arrays import DeviceArray, as_device_array, is_device_array
from harmonyrt.runtime.backends.device_memory import DeviceMemory
from harmonyrt.runtime.backends.onnxruntime_providers import EngineCache

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_NO_WAIT = "disable_synchronize_execution_providers"
"""Run option: return when the work is on the stream."""


@dataclass
class Held:
    """What a session must release, in this order.

    Attributes:
        session: ONNX Runtime's.
        stream: its CUDA stream; None without cuda-python.
        event: orders streams.
        cache: of the TensorRT provider's engines.
        arrays: fixed device memory by name, where a CUDA graph needs it.
    """

    session: Any
    stream: Any = None
    event: Any = None
    cache: EngineCache | None = None
    arrays: dict[str, DeviceArray] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)


class OnnxRuntimeCudaSession:
    """An ONNX engine on a GPU; belongs to one thread.

    Args:
        held: the open session and its CUDA objects.
        device: CUDA; None without cuda-python.
        index: of the GPU.
        graph: ONNX Runtime records a CUDA graph, which works on fixed memory.
        reopen: opens everything once more, for another thread.
        run_options: makes ONNX Runtime's `RunOptions`.
    """

    backend = "onnxruntime"

    def __init__(
        self,
        held: Held,
        device: cuda.Cuda | None,
        index: int,
        graph: bool,
        reopen: Callable[[], OnnxRuntimeCudaSession],
        run_options: Callable[[], Any],
    ) -> None:
        self.device = f"cuda:{index}"
        self._held, self._cuda, self._index, self._graph = held, device, index, graph
        self._reopen, self._run_options = reopen, run_options
        self._inputs = {one.name: one for one in held.session.get_inputs()}
        self._outputs = {one.name: one for one in held.session.get_outputs()}
        if graph and (device is None or not all(_is_fixed(one.shape) for one in self._inputs.values())):
            raise HarmonyError(
                "a CUDA graph needs an engine of one size and the package cuda-python:"
                " leave the graph's provider option out, or build that size and pip install 'harmonyrt[cuda]'"
            )
        forks.keep(held)
        self._finalizer = weakref.finalize(self, _release, device, index, held)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by input name in, arrays by output name out; waits for the result.

        Args:
            inputs: host arrays, or device arrays, in which case this is :meth:`run_on_device`.
        """
        if any(is_device_array(value) for value in inputs.values()):
            return self.run_on_device(inputs)  # type: ignore[return-value]
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        if self._graph:
            return self._run_graph(arrays)
        names = list(self._outputs)
        try:
            results = self._held.session.run(names, arrays)
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise failures.running_failed("ONNX Runtime", error) from None
        self._save()
        return dict(zip(names, results, strict=True))

    def run_on_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None, stream: int = cuda.LEGACY_STREAM
    ) -> dict[str, DeviceArray]:
        """Run once on arrays of this session's GPU, without a copy through the host.

        The work is ordered on `stream` as if it ran there, and the host does not wait; without cuda-python it waits for
        the whole GPU, before and after.

        Args:
            inputs: C-contiguous device arrays by input name: `__cuda_array_interface__` or DLPack.
            outputs: device arrays to write into, by output name; None for new ones.
            stream: handle of the caller's CUDA stream; 0 for the default one.

        Returns:
            The outputs, with both protocols.

        Raises:
            HarmonyError: arrays that do not fit, or lie on another GPU.
            WorkFailed: ONNX Runtime or CUDA failed.
        """
        if set(inputs) != set(self._inputs):
            raise HarmonyError(f"the engine's inputs are {', '.join(self._inputs)}; given were {', '.join(inputs)}")
        taken = {name: as_device_array(inputs[name], name, stream) for name in self._inputs}
        given = {name: as_device_array(value, name, stream) for name, value in (outputs or {}).items()}
        sizes = self._check(taken, given)
        if self._cuda is None:
            return self._run_waiting(taken, given)
        self._cuda.set_device(self._index)
        for name, found in self._outputs.items():
            shape = _filled(found.shape, sizes)
            if name not in given and shape is not None:
                given[name] = self._new(shape, _dtype(found))
        for waited_for in {stream, *(array.stream for array in taken.values() if array.stream is not None)}:
            self._order(waited_for, self._held.stream)
        try:
            results = self._launched(taken, given)
        except WorkFailed:
            with contextlib.suppress(WorkFailed):  # the part that was put there still uses the caller's memory
                self._order(self._held.stream, stream)
            raise
        self._order(self._held.stream, stream)
        self._save()
        ready = cuda.waiting(self._cuda, self._index, stream)
        return {name: replace(array, stream=stream, ready=ready) for name, array in results.items()}

    def another(self) -> OnnxRuntimeCudaSession:
        """Open another session for another thread. It has its own copy of the weights: ONNX Runtime ties a session to
        one stream."""
        return self._reopen()

    def close(self) -> None:
        """Give the session and its memory back; also happens when it is dropped."""
        if self._finalizer.alive:
            self._finalizer()

    # --- how it runs

    def _run_waiting(self, taken: dict[str, DeviceArray], given: dict[str, DeviceArray]) -> dict[str, DeviceArray]:
        binding = self._bound(taken, given)
        binding.synchronize_inputs()  # whatever stream filled them
        self._run_bound(binding, None)
        with self._failing():
            binding.synchronize_outputs()
        return self._results(binding, given)

    def _launched(self, taken: dict[str, DeviceArray], given: dict[str, DeviceArray]) -> dict[str, DeviceArray]:
        """Put a run on the session's stream."""
        assert self._cuda is not None
        stream = self._held.stream
        options = self._run_options()
        options.add_run_config_entry(_NO_WAIT, "1")
        if not self._graph:
            binding = self._bound(taken, given)
            self._run_bound(binding, options)
            if len(given) < len(self._outputs):
                self._cuda.synchronize(stream)  # memory of ONNX Runtime's, which it may use again at once
            return self._results(binding, given)
        for name, array in taken.items():
            self._cuda.copy(self._fixed(name, array).address, array.address, array.nbytes, stream)
        fixed = {name: self._fixed(name, array) for name, array in given.items()}
        self._run_bound(self._bound({name: self._held.arrays[name] for name in taken}, fixed), options)
        for name, array in given.items():
            self._cuda.copy(array.address, fixed[name].address, array.nbytes, stream)
        return given

    def _run_graph(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Host arrays, by way of the graph's memory."""
        device, stream = self._cuda, self._held.stream
        assert device is not None
        device.set_device(self._index)
        taken = {n: self._fixed(n, DeviceArray(0, a.shape, a.dtype, self._index)) for n, a in arrays.items()}
        self._check(taken, {})
        for name, array in arrays.items():
            device.copy(taken[name].address, array.ctypes.data, array.nbytes, stream)
        device.synchronize(stream)  # CUDA may read pageable memory later than its copy call returns
        given = {
            name: self._fixed(name, DeviceArray(0, tuple(found.shape), np.dtype(_dtype(found)), self._index))
            for name, found in self._outputs.items()
        }
        self._run_bound(self._bound(taken, given), self._run_options())
        results = {name: np.empty(array.shape, array.dtype) for name, array in given.items()}
        for name, result in results.items():
            device.copy(result.ctypes.data, given[name].address, result.nbytes, stream)
        device.synchronize(stream)
        self._save()
        return results

    def _bound(self, taken: dict[str, DeviceArray], given: dict[str, DeviceArray]) -> Any:
        binding = self._held.session.io_binding()
        for name, array in taken.items():
            binding.bind_input(name, "cuda", self._index, array.dtype, array.shape, array.address)
        for name in self._outputs:
            if name in given:
                array = given[name]
                binding.bind_output(name, "cuda", self._index, array.dtype, array.shape, array.address)
            else:
                binding.bind_output(name, "cuda", self._index)
        return binding

    def _run_bound(self, binding: Any, options: Any) -> None:
        with self._failing():
            self._held.session.run_with_iobinding(binding, options)

    @contextlib.contextmanager
    def _failing(self):
        try:
            yield
        except Exception as error:
            raise failures.running_failed("ONNX Runtime", error) from None

    def _results(self, binding: Any, given: dict[str, DeviceArray]) -> dict[str, DeviceArray]:
        results = dict(given)
        if len(given) < len(self._outputs):
            for found, value in zip(self._outputs.values(), binding.get_outputs(), strict=True):
                if found.name not in results:
                    shape, dtype = tuple(value.shape()), np.dtype(_dtype(found))
                    results[found.name] = DeviceArray(value.data_ptr(), shape, dtype, self._index, owner=value)
        return {name: results[name] for name in self._outputs}

    # --- arrays

    def _check(self, taken: Mapping[str, DeviceArray], given: Mapping[str, DeviceArray]) -> dict[str, int]:
        """Hold arrays to the engine's types and shapes; returns the sizes of its free axes by their names."""
        sizes: dict[str, int] = {}
        known = {**self._inputs, **self._outputs}
        for name, array in (*taken.items(), *given.items()):
            if name not in known:
                raise HarmonyError(f"the engine has no output {name}: give {', '.join(self._outputs)}")
            if array.device != self._index:
                raise HarmonyError(f"{name} lies on cuda:{array.device}, this session runs on {self.device}: move it")
            wanted, dtype = known[name].shape, np.dtype(_dtype(known[name]))
            fits = array.dtype == dtype and len(wanted) == len(array.shape)
            for axis, size in zip(wanted, array.shape, strict=False):
                fits = fits and (sizes.setdefault(axis, size) if isinstance(axis, str) else axis or size) == size
            if not fits:
                shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in wanted)
                raise HarmonyError(
                    f"{name} is {array.dtype} {array.shape}, the engine takes {dtype} {shape}: convert or resize it"
                )
        return sizes

    def _new(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        assert self._cuda is not None
        array = DeviceArray(0, shape, np.dtype(dtype), self._index)
        return array.holding(DeviceMemory(self._cuda, array.nbytes))

    def _fixed(self, name: str, like: DeviceArray) -> DeviceArray:
        """Memory at one address per name: a graph works on that."""
        if name not in self._held.arrays:
            self._held.arrays[name] = self._new(like.shape, like.dtype)
        return self._held.arrays[name]

    def _order(self, first: Any, then: Any) -> None:
        """What is put on `then` from here on waits for what is on `first`."""
        assert self._cuda is not None
        self._cuda.record(self._held.event, first)
        self._cuda.wait(then, self._held.event)

    def _save(self) -> None:
        if self._held.cache is not None:
            self._held.cache.save()


def _dtype(found: Any) -> Any:
    if found.type not in _TYPES:
        raise HarmonyError(f"{found.name} is of ONNX Runtime's type {found.type}: device arrays of it are not taken")
    return _TYPES[found.type]


def _is_fixed(shape: Any) -> bool:
    return all(isinstance(axis, int) for axis in shape)


def _filled(shape: Any, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """A shape with its free axes filled in; None where one is unknown."""
    filled = [axis if isinstance(axis, int) else sizes.get(axis) for axis in shape]
    return None if None in filled else tuple(filled)  # type: ignore[arg-type]


def _release(device: cuda.Cuda | None, index: int, held: Held) -> None:
    """The session goes before the stream that it works on."""
    if os.getpid() != held.process:
        return
    if device is not None:
        with contextlib.suppress(WorkFailed):
            device.set_device(index)
            device.synchronize(held.stream)
    held.session = None
    held.arrays.clear()
    if held.cache is not None:
        held.cache.close()
    if device is not None:
        with contextlib.suppress(WorkFailed):
            device.destroy_event(held.event)
            device.destroy_stream(held.stream)
