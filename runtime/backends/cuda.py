"""CUDA as the runtime uses it: memory, streams, events, graphs and kernels, through cuda-python.

This is the seam that tests replace: :class:`Cuda` has no logic, it turns errors into sentences. Addresses,
streams, events and graphs are integers or opaque handles; sizes are bytes.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed

LEGACY_STREAM = 0
"""CUDA's default stream, on which PyTorch and CuPy work unless told otherwise."""


_INSUFFICIENT_DRIVER = 35


def open_cuda() -> Cuda:
    """CUDA on this machine.

    Raises:
        HarmonyError: cuda-python is not installed.
    """
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second: cuda-python before 12.6
        try:
            return Cuda(importlib.import_module(name))
        except ImportError:
            continue
    raise HarmonyError("CUDA needs the package cuda-python, which is not installed: run pip install 'harmonyrt[cuda]'")


def waiting(device: Cuda, index: int, first: int) -> Callable[[int], None]:
    """What makes a stream wait for everything that is on the stream `first` when it is called.

    Args:
        device: CUDA.
        index: of the GPU.
        first: stream that the contents of an array are made on.
    """

    def ready(then: int) -> None:
        device.set_device(index)
        event = device.create_event()
        device.record(event, first)
        device.wait(then, event)
        device.destroy_event(event)  # CUDA keeps it until the wait is over

    return ready


class Cuda:
    """The calls of the CUDA runtime that are used, each checked."""

    def __init__(self, runtime: ModuleType) -> None:
        self._runtime = runtime

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._runtime, name)(*arguments)
        if int(error) != 0:
            _, text = self._runtime.cudaGetErrorString(error)
            raise WorkFailed(f"CUDA's {name} failed: {text.decode()}; free the GPU or its memory and try again")
        return values[0] if len(values) == 1 else values or None

    # --- what is there

    def device_count(self) -> int:
        """How many GPUs can be used; 0 without a driver."""
        error, count = self._runtime.cudaGetDeviceCount()
        return count if int(error) == 0 else 0

    def why_no_device(self) -> str:
        """Why there is no usable GPU, in CUDA's words; "none found" where it has none."""
        error, _ = self._runtime.cudaGetDeviceCount()
        if int(error) == 0:
            return "none found"
        text = self._runtime.cudaGetErrorString(error)[1].decode()
        if int(error) == _INSUFFICIENT_DRIVER and self.driver() > 0:
            text += f": the driver is for CUDA {self.driver()}, run pip install 'cuda-python<{self.driver() + 1}'"
        return text

    def driver(self) -> int:
        """Newest CUDA major version that the driver knows; 0 without a driver."""
        return self._call("cudaDriverGetVersion") // 1000

    def capability(self, device: int) -> tuple[int, int]:
        """Compute capability of a GPU, such as ``(8, 9)``."""
        properties = self._call("cudaGetDeviceProperties", device)
        return properties.major, properties.minor

    def name(self, device: int) -> str:
        """A GPU's name, for example ``"NVIDIA GeForce RTX 4090"``."""
        name = self._call("cudaGetDeviceProperties", device).name
        return name.decode().rstrip("\0") if isinstance(name, bytes) else str(name)

    def set_device(self, device: int) -> None:
        """Make a GPU the current one of this thread."""
        self._call("cudaSetDevice", device)

    # --- memory

    def allocate(self, size: int) -> int:
        """Allocate device memory; returns its address."""
        return int(self._call("cudaMalloc", max(size, 1)))

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call("cudaFree", address)

    def memory(self) -> tuple[int, int]:
        """Bytes of the current GPU's memory that are free, and all of it; other programs' use counts as used."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    def allocate_pinned(self, size: int) -> int:
        """Page-locked host memory: copies from and to it run while the host goes on."""
        return int(self._call("cudaMallocHost", max(size, 1)))

    def free_pinned(self, address: int) -> None:
        """Free page-locked memory."""
        self._call("cudaFreeHost", address)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Copy between any two places, in the order of `stream`."""
        self._call("cudaMemcpyAsync", target, source, size, self._runtime.cudaMemcpyKind.cudaMemcpyDefault, stream)

    # --- order

    def create_stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def destroy_stream(self, stream: Any) -> None:
        """Destroy a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: Any) -> None:
        """Wait on the host for all work of a stream."""
        self._call("cudaStreamSynchronize", stream)

    def create_event(self, timing: bool = False) -> Any:
        """Create an event, one that can be timed if asked for."""
        flags = 0 if timing else self._runtime.cudaEventDisableTiming
        return self._call("cudaEventCreateWithFlags", flags)

    def destroy_event(self, event: Any) -> None:
        """Destroy an event."""
        self._call("cudaEventDestroy", event)

    def record(self, event: Any, stream: Any) -> None:
        """Record an event on a stream."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """Let a stream, not the host, wait for an event."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def milliseconds(self, first: Any, second: Any) -> float:
        """Time between two events that have happened."""
        return self._call("cudaEventElapsedTime", first, second)

    # --- graphs

    def begin_capture(self, stream: Any) -> None:
        """Record what is put on `stream` from here on instead of running it."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def is_capturing(self, stream: Any) -> bool:
        """Whether a stream is being recorded, also where the recording has already failed."""
        return int(self._call("cudaStreamIsCapturing", stream)) != 0

    def end_capture(self, stream: Any) -> Any:
        """What was recorded, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: Any) -> None:
        """End a capture that failed, whatever CUDA thinks of it."""
        error, graph = self._runtime.cudaStreamEndCapture(stream)
        if int(error) == 0:
            self._runtime.cudaGraphDestroy(graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Launch a recorded graph on a stream."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroy a recorded graph."""
        self._call("cudaGraphExecDestroy", graph)

    # --- kernels, which only the driver's own interface loads

    def load_module(self, code: bytes) -> Any:
        """Load machine code (a cubin) onto the current GPU of this thread."""
        return self._call_driver("cuModuleLoadData", code)

    def unload_module(self, module: Any) -> None:
        """Unload machine code; nothing of it may be running or in a graph."""
        self._call_driver("cuModuleUnload", module)

    def kernel(self, module: Any, name: str) -> Any:
        """One kernel of a module."""
        return self._call_driver("cuModuleGetFunction", module, name.encode())

    def launch_kernel(
        self, kernel: Any, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: Any
    ) -> None:
        """Put a kernel on a stream; the arguments (ctypes values) are copied before this returns."""
        places = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(argument) for argument in arguments])
        self._call_driver("cuLaunchKernel", kernel, *grid, *block, 0, stream, ctypes.addressof(places), 0)

    def _call_driver(self, name: str, *arguments: Any) -> Any:
        driver = _driver_of(self._runtime)
        error, *values = getattr(driver, name)(*arguments)
        if int(error) != 0:
            _, text = driver.cuGetErrorString(error)
            said = text.decode() if text else f"error {int(error)}"
            raise WorkFailed(f"CUDA's {name} failed: {said}; free the GPU or its memory and try again")
        return values[0] if values else None


def _driver_of(runtime: ModuleType) -> ModuleType:
    """cuda-python's driver module of the same version as its runtime module."""
    return importlib.import_module("cuda.cuda" if runtime.__name__ == "cuda.cudart" else "cuda.bindings.driver")
