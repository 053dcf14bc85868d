"""Device memory that is freed with its last user."""

from __future__ import annotations

import contextlib
import os
import weakref

from harmonyrt.common import WorkFailed
from harmonyrt.runtime.backends import cuda


class DeviceMemory:
    """A block of the current GPU's memory, for :meth:`harmonyrt.runtime.backends.device_arrays.DeviceArray.holding`.

    Attributes:
        address: of its first byte.
    """

    def __init__(self, device: cuda.Cuda, size: int) -> None:
        self.address = device.allocate(size)
        weakref.finalize(self, _free, device, self.address, os.getpid())


def _free(device: cuda.Cuda, address: int, process: int) -> None:
    if os.getpid() != process:  # a forked child, which CUDA does not serve
        return
    with contextlib.suppress(WorkFailed):  # at the end of a process CUDA may be gone
        device.free(address)
