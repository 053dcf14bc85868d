"""Buffers that a run's components read and write: on the host, or on one GPU from the first component to the last.

On a GPU all inputs are copied up before the first component runs, each component reads what the previous one wrote, and
only the image (and the last latents, 64 KB, to check that they are finite) is copied down. Every component finds its
arrays at the same addresses in every run, so TensorRT's can be recorded as one CUDA graph and replayed with new
contents.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import forks
from harmonyrt.runtime.backends import Session, cuda, graphs
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.diffusion.schedule import SamplingSchedule

_LOOPS_KEPT = 4
"""Recorded loops of one model, each some thousand kernels; a bundle rarely has more step counts."""

Result = TypeVar("Result")


class BufferPool(Protocol):
    """Holds arrays and runs components on them. What it returns is of use to this pool only."""

    def put(self, name: str, array: np.ndarray) -> Any:
        """Copy a host array in; the caller may reuse it at once. A later array of the same name replaces it."""

    def fixed(self, name: str, array: Any) -> Any:
        """Copy an array of the pool to one address per name, for components that run several times."""

    def call(self, component: str, feeds: Mapping[str, Any], output: str, name: str) -> Any:
        """Run a component and keep its output under `name`."""

    def loop(self, key: Hashable, body: Callable[[], Result]) -> Result:
        """Run a loop: call `body`, or replay what it did when it last ran for this key.

        Args:
            key: determines which components run, in which order, on arrays of which names.
            body: calls only :meth:`fixed` and :meth:`call`, and returns arrays that they returned.
        """

    def fetch(self, component: str, array: Any) -> np.ndarray:
        """Copy an array that `component` made to the host.

        Raises:
            WorkFailed: it contains values that are not finite.
        """


class HostBuffers:
    """NumPy arrays, checked after each component."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions

    def put(self, name: str, array: np.ndarray) -> np.ndarray:
        return array

    def fixed(self, name: str, array: np.ndarray) -> np.ndarray:
        return array

    def call(self, component: str, feeds: Mapping[str, np.ndarray], output: str, name: str) -> np.ndarray:
        """Run a component and check its output."""
        return self.fetch(component, self._sessions[component].run(feeds)[output])

    def loop(self, key: Hashable, body: Callable[[], Result]) -> Result:
        return body()

    def fetch(self, component: str, array: np.ndarray) -> np.ndarray:
        return checked(component, self._sessions[component].backend, array)


@dataclass
class _Held:
    """CUDA objects to release besides memory: the stream and, by key, each loop's graph with the loop's result."""

    stream: int
    loops: dict[Hashable, tuple[Any, Any]] = field(default_factory=dict)


class DeviceBuffers:
    """Device memory that a loop keeps; components are enqueued without waiting for them.

    Where every session can be recorded (TensorRT with fixed shapes), a loop runs plainly the first time, is recorded as
    one CUDA graph the second time, and is one launch from then on. That needs a stream, because the default one cannot
    be recorded; the other sessions use only that one.

    Args:
        schedule: gives the shapes.
        sessions: by component, all with `run_on_device`, on one GPU.
        device: CUDA.
        index: of the GPU.
    """

    def __init__(self, schedule: SamplingSchedule, sessions: Mapping[str, Any], device: cuda.Cuda, index: int) -> None:
        self._sessions, self._cuda, self._index = sessions, device, index
        self._arrays: dict[str, DeviceArray] = {}
        batch, channels, height, width = schedule.latent_shape
        self._shapes = {
            "condition": (batch, channels + 1, height, width),
            "next_latents": schedule.latent_shape,
            "predicted_noise": schedule.latent_shape,
            "picture": (batch, 3, *schedule.inference_size),
            "output": (batch, 3, *schedule.output_size),
        }
        device.set_device(index)
        self._records = all(getattr(session, "recordable", False) for session in sessions.values())
        self._stream = int(device.create_stream()) if self._records else cuda.LEGACY_STREAM
        self._ready: set[Hashable] = set()  # keys of loops that ran plainly
        self._held = _Held(self._stream)
        forks.keep(self)
        weakref.finalize(self, _release, device, index, self._held).atexit = False  # CUDA may be gone by then

    def put(self, name: str, array: np.ndarray) -> DeviceArray:
        """Copy it to the GPU and wait: CUDA may still read pageable memory after the copy call has returned."""
        self._cuda.set_device(self._index)
        array = np.ascontiguousarray(array)
        kept = self._kept(name, array.shape, array.dtype)
        self._cuda.copy(kept.address, array.ctypes.data, array.nbytes, self._stream)
        self._cuda.synchronize(self._stream)
        return kept

    def fixed(self, name: str, array: DeviceArray) -> DeviceArray:
        """Copy it within the GPU, to the address that the component reads."""
        kept = self._kept(f"fixed {name}", array.shape, array.dtype)
        self._cuda.copy(kept.address, array.address, array.nbytes, self._stream)
        return kept

    def call(self, component: str, feeds: Mapping[str, DeviceArray], output: str, name: str) -> DeviceArray:
        """Enqueue a component, in the order of the calls."""
        results = {output: self._kept(name, self._shapes[output], np.dtype(np.float32))}
        if component == "unet":  # freeing new memory for an output that nobody reads would make the GPU wait
            shape = self._shapes["predicted_noise"]
            results["predicted_noise"] = self._kept("predicted noise", shape, np.dtype(np.float32))
        stream = {} if self._stream == cuda.LEGACY_STREAM else {"stream": self._stream}  # ONNX Runtime's take none
        self._sessions[component].run_on_device(feeds, results, **stream)
        return results[output]

    def loop(self, key: Hashable, body: Callable[[], Result]) -> Result:
        """Launch the graph of this loop. Without one, record it if the loop has run before, else run it step by step.

        Warns:
            HarmonyWarning: once, when CUDA or TensorRT refuses the recording; components then run one by one for good.
        """
        self._cuda.set_device(self._index)
        loop = self._held.loops.pop(key, None)
        if loop is None and self._records and key in self._ready:
            loop = graphs.record_if_possible(self._cuda, self._stream, body, "the loop")
            self._records = loop is not None
        if loop is None:
            result = body()
            self._ready.add(key)
            return result
        self._held.loops[key] = loop  # the last one was used last
        if len(self._held.loops) > _LOOPS_KEPT:
            self._drop(next(iter(self._held.loops)))
        graph, result = loop
        self._cuda.launch(graph, self._stream)
        return result

    def _drop(self, *keys: Hashable) -> None:
        """Destroy recorded loops."""
        self._cuda.synchronize(self._stream)
        for key in keys:
            self._cuda.destroy_graph(self._held.loops.pop(key)[0])

    def fetch(self, component: str, array: DeviceArray) -> np.ndarray:
        """Wait for the GPU and copy the array to the host."""
        self._cuda.set_device(self._index)
        result = np.empty(array.shape, array.dtype)
        self._cuda.copy(result.ctypes.data, array.address, array.nbytes, self._stream)
        self._cuda.synchronize(self._stream)
        return checked(component, self._sessions[component].backend, result)

    def _kept(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            if kept is not None:  # graphs hold the old address
                self._ready.clear()
                self._drop(*self._held.loops)
            kept = DeviceArray(0, shape, dtype, self._index)
            self._arrays[name] = kept = kept.holding(_Memory(self._cuda, kept.nbytes))
        return kept


def _release(device: cuda.Cuda, index: int, held: _Held) -> None:
    """Destroy graphs before the sessions and memory that they refer to."""
    with contextlib.suppress(WorkFailed):
        device.set_device(index)
        device.synchronize(held.stream)
        for graph, _ in held.loops.values():
            device.destroy_graph(graph)
        if held.stream != cuda.LEGACY_STREAM:
            device.destroy_stream(held.stream)
    held.loops.clear()


class _Memory:
    """Device memory that is freed with its last user."""

    def __init__(self, device: cuda.Cuda, size: int) -> None:
        self.address = device.allocate(size)
        weakref.finalize(self, device.free, self.address).atexit = False  # CUDA may be gone by then


def open_buffers(schedule: SamplingSchedule, sessions: Mapping[str, Session]) -> BufferPool:
    """Device buffers where all components run on one GPU and CUDA can allocate memory; else host buffers."""
    devices = {session.device for session in sessions.values()}
    kind, _, index = next(iter(devices)).partition(":")
    if len(devices) != 1 or kind != "cuda" or not all(hasattr(one, "run_on_device") for one in sessions.values()):
        return HostBuffers(sessions)
    try:
        device = cuda.open_cuda()
    except HarmonyError:  # ONNX Runtime's CUDA provider needs no cuda-python; its arrays then pass through the host
        return HostBuffers(sessions)
    return DeviceBuffers(schedule, sessions, device, int(index or 0))


def checked(component: str, backend: str, result: np.ndarray) -> np.ndarray:
    """Return the array if all of it is finite.

    Raises:
        WorkFailed: it is not.
    """
    if not np.isfinite(result).all():
        raise WorkFailed(
            f"the {component} gave {int((~np.isfinite(result)).sum())} values that are not finite on {backend};"
            " use a bundle of another precision"
        )
    return result
