"""PyTorch, CuPy, Numba and pycuda over :mod:`fakes.cuda`: as much of each as docs/embedding.md uses, by its real names.

Arrays are on the streams that their libraries would have them on, and nothing waits that would not wait there.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import types
from typing import Any

import numpy as np

from fakes.cuda import SimulatedCuda, view
from harmonyrt.runtime.backends import device_arrays
from harmonyrt.runtime.backends.device_arrays import DeviceArray


class Array:
    """An array in the simulated GPU's memory, and what every library has of it."""

    def __init__(self, gpu: SimulatedCuda, shape, dtype, stream: int, address: int | None = None, base: Any = None):
        self.gpu, self.shape, self.dtype, self.stream = gpu, tuple(shape), np.dtype(dtype), stream
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        self.address, self.base = gpu.allocate(size) if address is None else address, base

    def filled(self, array: np.ndarray):
        target, source = view(self.address, self.shape, self.dtype), array.copy()
        self.gpu.enqueue(self.stream, lambda: target.__setitem__(..., source), self.address)
        return self

    def read(self, stream: int, wait: bool = True) -> np.ndarray:
        found, source = np.empty(self.shape, self.dtype), view(self.address, self.shape, self.dtype)
        self.gpu.enqueue(stream, lambda: found.__setitem__(..., source), self.address)
        if wait:
            self.gpu.synchronize(stream)
        return found

    def interface(self, stream: int | None) -> dict[str, Any]:
        strides = np.empty(self.shape, self.dtype).strides
        data = {"data": (self.address, False), "shape": self.shape, "strides": strides, "typestr": self.dtype.str}
        return {**data, "version": 3, "stream": stream}


class SharedByDlpack(Array):
    """PyTorch's and CuPy's: the producer makes the consumer's stream wait for the one it is on."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None):
        event = self.gpu.create_event()
        self.gpu.record(event, self.stream)
        self.gpu.wait(0 if stream in (None, 1) else stream, event)
        return device_arrays._capsule(DeviceArray(self.address, self.shape, self.dtype, owner=self))


class _Current:
    """The stream that a library works on in a `with` block."""

    def __init__(self) -> None:
        self.handle = 0

    @contextlib.contextmanager
    def using(self, handle: int):
        before, self.handle = self.handle, handle
        try:
            yield
        finally:
            self.handle = before


def _from_dlpack(kind: type, gpu: SimulatedCuda, current: _Current):
    def from_dlpack(value):
        value.__dlpack__(stream=current.handle or 1)
        return kind(gpu, value.shape, value.dtype, current.handle, value.address, value)

    return from_dlpack


def torch(gpu: SimulatedCuda) -> dict[str, types.ModuleType]:
    """`torch`, as far as it goes."""
    module, current = types.ModuleType("torch"), _Current()

    class Tensor(SharedByDlpack):
        @property
        def __cuda_array_interface__(self):
            return self.interface(None)

        def cpu(self):
            return types.SimpleNamespace(numpy=lambda: self.read(current.handle))

    Tensor.__module__ = "torch"
    module.cuda = types.SimpleNamespace(
        Stream=lambda: types.SimpleNamespace(cuda_stream=gpu.create_stream()),
        stream=lambda stream: current.using(stream.cuda_stream),
    )
    module.as_tensor = lambda array, device: Tensor(gpu, array.shape, array.dtype, current.handle).filled(array)
    module.from_dlpack = _from_dlpack(Tensor, gpu, current)
    return {"torch": module}


def cupy(gpu: SimulatedCuda) -> dict[str, types.ModuleType]:
    """`cupy`, likewise."""
    module, current = types.ModuleType("cupy"), _Current()

    class ndarray(SharedByDlpack):
        @property
        def __cuda_array_interface__(self):
            return self.interface(current.handle or 1)

    class Stream:
        def __init__(self, non_blocking=False) -> None:
            self.ptr = gpu.create_stream()

        def __enter__(self):
            self._used = current.using(self.ptr)
            self._used.__enter__()
            return self

        def __exit__(self, *error):
            self._used.__exit__(*error)

    ndarray.__module__ = "cupy"
    module.cuda = types.SimpleNamespace(Stream=Stream)
    module.asarray = lambda array: ndarray(gpu, array.shape, array.dtype, current.handle).filled(array)
    module.asnumpy = lambda array: array.read(current.handle)
    module.from_dlpack = _from_dlpack(ndarray, gpu, current)
    return {"cupy": module}


def numba(gpu: SimulatedCuda) -> dict[str, types.ModuleType]:
    """`numba.cuda`: the array interface alone, with the stream that an array was made on."""
    package, module = types.ModuleType("numba"), types.ModuleType("numba.cuda")

    class DeviceNDArray(Array):
        @property
        def __cuda_array_interface__(self):
            return self.interface(self.stream or None)

        def copy_to_host(self, stream):
            return self.read(stream.handle.value or 0, wait=False)

    def stream():
        handle = gpu.create_stream()
        return types.SimpleNamespace(handle=ctypes.c_void_p(handle), synchronize=lambda: gpu.synchronize(handle))

    def as_cuda_array(value):
        found = value.__cuda_array_interface__
        if found["stream"] is not None:
            gpu.synchronize(0 if found["stream"] == 1 else found["stream"])
        return DeviceNDArray(gpu, found["shape"], found["typestr"], 0, found["data"][0], value)

    DeviceNDArray.__module__ = "numba.cuda"
    module.stream, module.as_cuda_array = stream, as_cuda_array
    module.to_device = lambda array, stream: DeviceNDArray(gpu, array.shape, array.dtype, stream.handle.value).filled(
        array
    )
    package.cuda = module
    return {"numba": package, "numba.cuda": module}


def pycuda(gpu: SimulatedCuda) -> dict[str, types.ModuleType]:
    """`pycuda` on the primary context: the array interface alone, without a stream."""
    names = ("pycuda", "pycuda.autoprimaryctx", "pycuda.driver", "pycuda.gpuarray")
    modules = {name: types.ModuleType(name) for name in names}

    class GPUArray(Array):
        @property
        def __cuda_array_interface__(self):
            return {**self.interface(None), "version": 2}

        def get_async(self, stream):
            return self.read(stream.handle, wait=False)

    class Stream:
        def __init__(self) -> None:
            self.handle = gpu.create_stream()

        def synchronize(self) -> None:
            gpu.synchronize(self.handle)

    GPUArray.__module__ = "pycuda.gpuarray"
    for name in names[1:]:
        setattr(modules["pycuda"], name.partition(".")[2], modules[name])
    modules["pycuda.driver"].Stream = Stream
    modules["pycuda.gpuarray"].empty = lambda shape, dtype: GPUArray(gpu, shape, dtype, 0)
    modules["pycuda.gpuarray"].to_gpu_async = lambda array, stream: GPUArray(
        gpu, array.shape, array.dtype, stream.handle
    ).filled(array)
    return modules


LIBRARIES = {"torch": torch, "cupy": cupy, "numba": numba, "pycuda": pycuda}


@contextlib.contextmanager
def installed(name: str, gpu: SimulatedCuda):
    """Have one of the libraries instead of the real one."""
    modules = LIBRARIES[name](gpu)
    before = {key: sys.modules.get(key) for key in modules}
    sys.modules.update(modules)
    try:
        yield modules[name]
    finally:
        for key, module in before.items():
            sys.modules.pop(key) if module is None else sys.modules.update({key: module})
