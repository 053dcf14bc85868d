"""Sharing device memory by the two protocols; the CPU's DLPack replaces the GPU's."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import device_arrays as arrays
from harmonyrt.runtime.backends.device_arrays import DeviceArray, as_device_array, as_pitched_array, is_device_array


class CudaArray:
    """What PyTorch, CuPy, Numba and pycuda offer."""

    def __init__(self, shape=(1, 3, 4, 4), strides=None, stream=None) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (4096, False),
            "strides": strides,
            "stream": stream,
            "version": 3,
        }


def test_the_array_interface_is_read():
    value = CudaArray(stream=1)
    array = as_device_array(value, "image")
    assert (array.address, array.shape, array.dtype, array.stream) == (4096, (1, 3, 4, 4), np.float32, 0)
    assert array.owner is value
    assert is_device_array(value)
    assert not is_device_array(np.zeros(3))


def test_strides_of_axes_with_one_element_mean_nothing():
    assert as_device_array(CudaArray((1, 3, 4, 4), (7, 64, 16, 4)), "image").shape == (1, 3, 4, 4)


def test_other_strides_are_refused_in_one_sentence():
    with pytest.raises(HarmonyError, match="image is not contiguous in memory"):
        as_device_array(CudaArray((1, 3, 4, 4), (192, 4, 48, 12)), "image")


def test_a_host_array_is_refused_in_one_sentence():
    with pytest.raises(HarmonyError, match="mask is a list, not an array in device memory"):
        as_device_array([1.0], "mask")


class NeedsGrad:
    """PyTorch's tensors refuse both protocols while they require a gradient."""

    def __dlpack_device__(self):
        return 2, 0

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("requires grad")


def test_a_tensor_that_its_library_does_not_share_is_one_sentence():
    assert is_device_array(NeedsGrad())
    with pytest.raises(HarmonyError, match=r"image cannot be shared \(requires grad\): give a plain tensor, detached"):
        as_device_array(NeedsGrad(), "image")


def test_dlpack_is_borrowed_without_a_copy():
    picture = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    array = as_device_array(picture, "image")
    assert array.address == picture.ctypes.data
    assert (array.shape, array.dtype) == (picture.shape, picture.dtype)
    with pytest.raises(HarmonyError, match="not contiguous"):
        as_device_array(picture[..., ::2], "image")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int64, np.bool_])
def test_a_consumer_sees_the_same_memory_and_keeps_it_alive(dtype):
    picture = np.arange(12).reshape(3, 4).astype(dtype)
    exported = len(arrays._exported)
    consumer = np.from_dlpack(
        DeviceArray(picture.ctypes.data, picture.shape, picture.dtype, owner=picture, device_type=1)
    )
    np.testing.assert_array_equal(consumer, picture)
    assert len(arrays._exported) == exported + 1
    del consumer
    gc.collect()
    assert len(arrays._exported) == exported


def test_a_capsule_that_nobody_takes_is_released():
    exported = len(arrays._exported)
    capsule = DeviceArray(4096, (2,), np.dtype(np.float32)).__dlpack__()
    assert len(arrays._exported) == exported + 1
    del capsule
    gc.collect()
    assert len(arrays._exported) == exported


def test_the_default_stream_is_named_as_the_interface_wants():
    interface = DeviceArray(4096, (2,), np.dtype(np.float32), stream=0).__cuda_array_interface__
    assert interface["stream"] == 1
    assert interface["strides"] is None


@pytest.mark.parametrize(
    ("shape", "strides", "pitch"),
    [
        ((4, 5, 3), None, 60),
        ((4, 5, 3), (64, 12, 4), 64),
        ((4, 5, 3), (60, 12, 4), 60),
        ((4, 5), (32, 4), 32),
        ((1, 5, 3), (0, 12, 4), 60),
    ],
    ids=str,
)
def test_rows_may_lie_apart_where_that_is_allowed(shape, strides, pitch):
    array, found = as_pitched_array(CudaArray(shape, strides), "composite")
    assert (array.shape, found) == (shape, pitch)


@pytest.mark.parametrize(
    ("strides", "words"),
    [
        ((64, 16, 4), "rows that are not contiguous"),
        ((48, 12, 4), "overlap or run backwards"),
        ((-60, 12, 4), "overlap or run backwards"),
    ],
    ids=str,
)
def test_other_rows_are_refused_in_one_sentence(strides, words):
    with pytest.raises(HarmonyError, match=words):
        as_pitched_array(CudaArray((4, 5, 3), strides), "composite")
