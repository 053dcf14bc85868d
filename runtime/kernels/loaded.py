"""The kernels on a GPU: compiled at first use, kept in the cache of compiled models, loaded, launched."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

from harmonyrt.common import WorkFailed
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.kernels import nvrtc
from harmonyrt.runtime.kernels.passes import KERNELS


class LoadedKernels:
    """The kernels, ready to be launched on one GPU. The thread that launches has made it the current one."""

    def __init__(self, device: cuda.Cuda, index: int, cache: CompiledCache) -> None:
        """Load them.

        Args:
            device: CUDA.
            index: of the GPU.
            cache: where what NVRTC made is kept.

        Raises:
            HarmonyError: no NVRTC that fits this GPU and its driver.
            WorkFailed: the driver does not take the code.
        """
        self._device = device
        device.set_device(index)
        capability = device.capability(index)
        compiler = nvrtc.fitting(capability, device.driver())
        key = cache_key(capability, compiler.version)
        kept = cache.read(key)
        module = None
        if kept is not None:
            try:
                module = device.load_module(kept.tobytes())
            except WorkFailed:
                cache.remove(key)
        if module is None:
            code = compiler.compile(capability).cubin
            module = device.load_module(code)
            cache.write(key, lambda file: file.write(code))
        self._kernels = {name: device.kernel(module, name) for name in KERNELS}
        weakref.finalize(self, _unload, device, index, module, os.getpid())

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: Any
    ) -> None:
        """Put one kernel on a stream: see :class:`harmonyrt.runtime.kernels.passes.Launcher`."""
        self._device.launch_kernel(self._kernels[name], grid, block, arguments, stream)


def cache_key(capability: tuple[int, int], version: tuple[int, int]) -> dict[str, object]:
    """What the compiled kernels depend on."""
    return {
        "kind": "kernels",
        "files": nvrtc.sources_sha256(),
        "options": " ".join(nvrtc.OPTIONS),
        "architecture": f"sm_{capability[0]}{capability[1]}",
        "library": f"nvrtc {version[0]}.{version[1]}",
    }


def _unload(device: cuda.Cuda, index: int, module: Any, process: int) -> None:
    if os.getpid() != process:  # a forked child, which CUDA does not serve
        return
    try:
        device.set_device(index)
        device.unload_module(module)
    except WorkFailed:  # at the end of a process CUDA may be gone
        pass
