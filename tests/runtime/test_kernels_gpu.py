"""The kernels on a GPU; and the same tests over the simulated one, so that the tests themselves are known to work."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from fakes.cuda import SimulatedCuda
from fakes.kernels import HostKernels
from fakes.pictures_in_memory import network, on_host, picture, soft_mask
from harmonyrt.common import WorkFailed
from harmonyrt.runtime.backends import cuda, graphs
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.kernels import nvrtc, passes
from harmonyrt.runtime.kernels.loaded import LoadedKernels
from harmonyrt.runtime.kernels.structures import STATE_BYTES, Packed, Plane, Scratch, Sizes

SIDE = 64


class Device:
    """A GPU, real or simulated, with the kernels on it."""

    def __init__(self, device: Any, folder: str) -> None:
        self.cuda = device
        self.cuda.set_device(0)
        self.kernels = LoadedKernels(device, 0, CompiledCache.at(folder))
        self.stream = device.create_stream()

    def put(self, array: np.ndarray) -> int:
        address = self.cuda.allocate(array.nbytes)
        self.write(address, array)
        return address

    def write(self, address: int, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        self.cuda.copy(address, array.ctypes.data, array.nbytes, self.stream)
        self.cuda.synchronize(self.stream)

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        result = np.empty(shape, dtype)
        self.cuda.copy(result.ctypes.data, address, result.nbytes, self.stream)
        self.cuda.synchronize(self.stream)
        return result


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The kernels are compiled once for the whole file."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def device(request, cache):
    if not nvrtc.installed():
        pytest.skip("no NVRTC (pip install 'harmonyrt[kernels]')")
    if request.param == "simulated":
        HostKernels.open()  # or skip
        return Device(SimulatedCuda(), cache)
    return Device(cuda.open_cuda(), cache)


def plane_of(device: Device, array: np.ndarray) -> Plane:
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    return Plane.of(device.put(array), array[0].nbytes, (height, width), channels, 8 * array.itemsize)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (150, 203), (700, 1100)], ids=str)
def test_a_picture_is_the_hosts_and_the_same_every_time(device, size):
    composite, mask = picture(*size), np.maximum(soft_mask(*size), np.uint8(size == (1, 1)))
    frame, levels = Packed(plane_of(device, composite)), plane_of(device, mask)
    result = Packed(plane_of(device, np.full_like(composite, 0xA5)))
    sizes = Sizes.of(SIDE, SIDE)
    scratch = Scratch.make(device.cuda.allocate, sizes, frame, device.put(np.zeros(STATE_BYTES, np.uint8)))
    expected = on_host(composite, mask, (SIDE, SIDE))[2]

    def before() -> None:
        passes.fit(device.kernels, frame, levels, True, scratch, device.stream)

    def after() -> None:
        passes.apply(device.kernels, frame, levels, result, 1.0, scratch, device.stream)

    def answer() -> None:
        image = device.get(scratch.image, (3, SIDE, SIDE), np.float32)
        network_mask = device.get(scratch.mask, (SIDE, SIDE), np.float32)
        device.write(scratch.output, network(image, network_mask).astype(np.float32))

    def found() -> np.ndarray:
        return device.get(result.plane.data, composite.shape, np.uint8)

    before(), answer(), after()
    first = found()
    assert np.abs(first.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(first[mask == 0], composite[mask == 0])

    recorded = [graphs.record(device.cuda, device.stream, work)[0] for work in (before, after)]
    for _ in range(3):
        device.write(result.plane.data, np.full_like(composite, 0xA5))
        device.cuda.launch(recorded[0], device.stream)
        answer()
        device.cuda.launch(recorded[1], device.stream)
        np.testing.assert_array_equal(found(), first)
    for graph in recorded:
        device.cuda.destroy_graph(graph)


def test_a_launch_that_cuda_refuses_is_one_sentence(device):
    state = ctypes.c_void_p(device.put(np.zeros(STATE_BYTES, np.uint8)))

    def launch() -> None:
        device.kernels.launch("begin", (1, 1, 1), (2048, 1, 1), (state,), device.stream)
        device.cuda.synchronize(device.stream)  # the simulated one looks only now

    with pytest.raises((WorkFailed, AssertionError), match=r"CUDA's cuLaunchKernel failed|outside CUDA's limits"):
        launch()
