"""Arrays in device memory, shared without copies: `__cuda_array_interface__` and DLPack, in and out.

Sources: numba.readthedocs.io (CUDA Array Interface, version 3) and dmlc.github.io/dlpack (Python specification).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError

CPU, CUDA, CUDA_PINNED, CUDA_MANAGED = 1, 2, 3, 13
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
_CODES = {kind: code for code, kind in _KINDS.items()}


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array in device memory. Offers itself by `__cuda_array_interface__` and DLPack.

    Attributes:
        address: of the first element.
        shape: dimensions.
        dtype: element type.
        device: index of the GPU.
        stream: stream on which the contents become ready, where the giver said so.
        owner: what keeps the memory alive.
        device_type: DLPack's kind of memory; tests use the CPU's.
        ready: makes a stream of the consumer's wait for the contents; None where nothing has to be waited for.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    device: int = 0
    stream: int | None = None
    owner: Any = field(default=None, repr=False, compare=False)
    device_type: int = CUDA
    ready: Callable[[int], None] | None = field(default=None, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def holding(self, memory: Any) -> DeviceArray:
        """The same array in that memory (anything with an `address`), kept alive by it."""
        return replace(self, address=memory.address, owner=memory)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
            # The interface forbids 0; 1 is its name for the legacy default stream.
            "stream": 1 if self.stream == 0 else self.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device_type, self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """A capsule, whose contents are ready in the order of the consumer's stream.

        Args:
            stream: the consumer's: None and 1 for the legacy default one, -1 for "do not wait", as DLPack has it.
        """
        consumer = 0 if stream in (None, 1) else int(stream)
        if self.ready is not None and consumer not in (-1, self.stream):
            self.ready(consumer)
        return _capsule(self)


def stream_handle(stream: Any) -> int:
    """The handle of a CUDA stream, whoever made it.

    Args:
        stream: a handle; None for the default stream; or a stream of PyTorch (`cuda_stream`), CuPy (`ptr`), pycuda or
            Numba (`handle`), or of anything with `__cuda_stream__`.

    Raises:
        HarmonyError: none of these.
    """
    if stream is None:
        return 0
    if isinstance(stream, int) and not isinstance(stream, bool):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr", "handle"):
        found = getattr(stream, name, None)
        if found is not None or hasattr(stream, name):
            return int(getattr(found, "value", found) or 0)  # Numba's is a ctypes pointer, whose 0 is None
    raise HarmonyError(
        f"stream is a {type(stream).__name__}; give a CUDA stream of PyTorch, CuPy, Numba or pycuda, or its handle"
    )


def is_device_array(value: Any) -> bool:
    """Whether a value lies in device memory and says so by one of the two protocols."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[0]) in (CUDA, CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def as_device_array(value: Any, name: str, stream: int = 0) -> DeviceArray:
    """View a caller's array without copying it.

    Args:
        value: anything with `__cuda_array_interface__` or DLPack (PyTorch, CuPy, JAX, Numba, pycuda).
        name: how messages call it.
        stream: where it will be used; a DLPack producer makes it wait for the contents.

    Raises:
        HarmonyError: no device array, not C-contiguous, or one that its library does not share.
    """
    array, strides = _viewed(value, name, stream)
    if strides is not None and not _is_contiguous(array.shape, strides, array.dtype.itemsize):
        raise HarmonyError(f"{name} is not contiguous in memory: give a contiguous copy of it (.contiguous())")
    return array


def as_pitched_array(value: Any, name: str, stream: int = 0) -> tuple[DeviceArray, int]:
    """View a caller's array whose rows may lie apart, as :func:`as_device_array`.

    Returns:
        The array, and the bytes from the start of a row to the next.

    Raises:
        HarmonyError: no device array, or one whose rows are not contiguous.
    """
    array, strides = _viewed(value, name, stream)
    row = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
    if strides is None or len(array.shape) < 2:
        return array, row
    if strides[0] < row and array.shape[0] > 1:
        raise HarmonyError(f"the rows of {name} overlap or run backwards in memory: give a contiguous copy of it")
    if not _is_contiguous(array.shape[1:], strides[1:], array.dtype.itemsize):
        raise HarmonyError(
            f"{name} has rows that are not contiguous in memory: give height x width x channels, each row in one piece"
        )
    return array, max(strides[0], row)


def _viewed(value: Any, name: str, stream: int) -> tuple[DeviceArray, Sequence[int] | None]:
    """A caller's array and its strides in bytes; None for C-contiguous ones."""
    if isinstance(value, DeviceArray):
        return value, None
    try:
        # DLPack first: PyTorch's array interface does not say which stream its contents become ready on.
        shared = _from_dlpack(value, stream) if hasattr(value, "__dlpack__") else _from_interface(value)
        return shared or _from_dlpack(value, stream)
    except (RuntimeError, BufferError, TypeError, AttributeError) as error:
        if not hasattr(value, "__dlpack_device__") and not hasattr(type(value), "__cuda_array_interface__"):
            raise HarmonyError(
                f"{name} is a {type(value).__name__}, not an array in device memory: give one that has"
                " __cuda_array_interface__ or DLPack (PyTorch, CuPy), or call run() with NumPy arrays"
            ) from None
        raise HarmonyError(f"{name} cannot be shared ({error}): give a plain tensor, detached") from None


def _from_interface(value: Any) -> tuple[DeviceArray, Sequence[int] | None] | None:
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return None
    producer = interface.get("stream")
    array = DeviceArray(
        interface["data"][0],
        tuple(interface["shape"]),
        np.dtype(interface["typestr"]),
        _device_of(value),
        0 if producer == 1 else producer,
        owner=value,
    )
    return array, interface.get("strides")


def _device_of(value: Any) -> int:
    """The array interface does not say which GPU; most arrays do."""
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[1])
    return 0


def _is_contiguous(shape: tuple[int, ...], strides: Sequence[int], itemsize: int) -> bool:
    """Strides of axes with one element mean nothing."""
    expected = itemsize
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


# --- DLPack's C structures (dlpack.h, version 0.x: what a call without max_version yields)


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))

_NAME = b"dltensor"
_DESTRUCTOR = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, _DESTRUCTOR)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p)
_get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))

_exported: dict[int, tuple[Any, ...]] = {}
"""What consumers still hold, by the address of its structure."""


@_DELETER
def _release(managed: Any) -> None:
    _exported.pop(ctypes.addressof(managed.contents), None)


@_DESTRUCTOR
def _drop(capsule: int) -> None:
    if _is_valid(capsule, _NAME):  # nobody took it: a consumer renames what it takes
        _exported.pop(_get(capsule, _NAME), None)


def _capsule(array: DeviceArray) -> Any:
    shape = (ctypes.c_int64 * len(array.shape))(*array.shape)
    managed = _Managed(
        _Tensor(
            array.address, array.device_type, array.device, len(array.shape), _CODES[array.dtype.kind],
            array.dtype.itemsize * 8, 1, shape, None, 0,
        ),
        None,
        _release,
    )  # fmt: skip
    address = ctypes.addressof(managed)
    _exported[address] = (managed, shape, array)
    return _new(address, _NAME, _drop)


def _from_dlpack(value: Any, stream: int) -> tuple[DeviceArray, tuple[int, ...] | None]:
    kind, device = value.__dlpack_device__()
    # DLPack calls the legacy default stream 1, and the CPU has no streams.
    capsule = value.__dlpack__() if int(kind) == CPU else value.__dlpack__(stream=stream or 1)
    # The capsule is kept and never renamed: the memory is borrowed, and freed when the capsule is.
    managed = ctypes.cast(_get(id(capsule), _NAME), ctypes.POINTER(_Managed)).contents
    tensor = managed.tensor
    if tensor.code not in _KINDS or tensor.lanes != 1:
        raise HarmonyError(
            f"an array of DLPack type {tensor.code} with {tensor.bits} bits cannot be used: give float32, float16,"
            " integers or booleans"
        )
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(s * dtype.itemsize for s in tensor.strides[: tensor.ndim]) if tensor.strides else None
    array = DeviceArray(
        (tensor.data or 0) + tensor.byte_offset,
        shape,
        dtype,
        int(device),
        owner=(value, capsule),
        device_type=int(kind),
    )
    return array, strides
