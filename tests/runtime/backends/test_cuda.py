"""The thin layer over cuda-python, over a fake of its runtime module."""

from __future__ import annotations

import sys
import types

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.backends import cuda


def runtime(error=0, count=1, driver=12040):
    """A runtime module in which everything ends with `error`."""
    return types.SimpleNamespace(
        cudaGetDeviceCount=lambda: (error, None if error else count),
        cudaDriverGetVersion=lambda: (0, driver),
        cudaGetErrorString=lambda code: (0, b"insufficient driver"),
        cudaMalloc=lambda size: (error, None if error else 4096),
    )


def test_gpus_are_counted_and_their_absence_explained():
    assert cuda.Cuda(runtime()).device_count() == 1
    assert cuda.Cuda(runtime(count=0)).why_no_device() == "none found"
    absent = cuda.Cuda(runtime(error=35, driver=0))
    assert absent.device_count() == 0
    assert absent.why_no_device() == "insufficient driver"


def test_an_older_driver_is_told_which_cuda_python_it_needs():
    assert "CUDA 12, run pip install 'cuda-python<13'" in cuda.Cuda(runtime(error=35)).why_no_device()


def test_a_call_that_fails_is_one_sentence():
    with pytest.raises(WorkFailed, match="CUDA's cudaMalloc failed: insufficient driver; free the GPU"):
        cuda.Cuda(runtime(error=2)).allocate(16)
    assert cuda.Cuda(runtime()).allocate(16) == 4096


@pytest.mark.parametrize(("status", "capturing"), [(0, False), (1, True), (2, True)])
def test_a_recording_that_has_failed_still_counts_as_one(status, capturing):
    module = types.SimpleNamespace(cudaStreamIsCapturing=lambda stream: (0, status))
    assert cuda.Cuda(module).is_capturing(7) is capturing


def test_a_missing_package_is_one_sentence(monkeypatch):
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(HarmonyError, match=r"run pip install 'harmonyrt\[cuda\]'"):
        cuda.open_cuda()


def test_the_real_package_has_every_call_that_is_used():
    bindings = pytest.importorskip("cuda.bindings.runtime")
    import inspect
    import re

    used = set(re.findall(r'_call\("(\w+)"', inspect.getsource(cuda)))
    used |= set(re.findall(r"_runtime\.(\w+)", inspect.getsource(cuda)))
    assert len(used) > 20
    assert not [name for name in used if not hasattr(bindings, name)]


def test_the_real_driver_module_has_every_call_that_is_used():
    bindings = pytest.importorskip("cuda.bindings.driver")
    import inspect
    import re

    used = set(re.findall(r'_call_driver\("(\w+)"', inspect.getsource(cuda))) | {"cuGetErrorString"}
    assert len(used) == 5
    assert not [name for name in used if not hasattr(bindings, name)]


def test_a_kernel_is_launched_with_the_addresses_of_its_arguments(monkeypatch):
    import ctypes

    launched = []
    number, place = ctypes.c_int(7), ctypes.c_void_p(4096)

    def launch(*given):
        places = ctypes.cast(given[9], ctypes.POINTER(ctypes.c_void_p))
        found = ctypes.c_int.from_address(places[0]).value, ctypes.c_void_p.from_address(places[1]).value
        launched.append((given[:9], found))
        return (0,)

    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", types.SimpleNamespace(cuLaunchKernel=launch))
    module = runtime()
    module.__name__ = "cuda.bindings.runtime"
    cuda.Cuda(module).launch_kernel("kernel", (2, 3, 1), (32, 8, 1), (number, place), 5)
    assert launched == [(("kernel", 2, 3, 1, 32, 8, 1, 0, 5), (7, 4096))]


def test_a_driver_that_refuses_is_one_sentence(monkeypatch):
    driver = types.SimpleNamespace(
        cuModuleLoadData=lambda code: (209, None),
        cuGetErrorString=lambda code: (0, b"no kernel image is available"),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    module = runtime()
    module.__name__ = "cuda.bindings.runtime"
    with pytest.raises(WorkFailed, match="CUDA's cuModuleLoadData failed: no kernel image is available; free the GPU"):
        cuda.Cuda(module).load_module(b"")
