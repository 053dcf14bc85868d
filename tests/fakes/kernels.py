"""The kernels of runtime/kernels, built by the host's compiler: what a GPU would compute, computed here.

See `kernel_shim.hpp`. Needs g++; `HostKernels.open` skips the test that asks where there is none.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harmonyrt.runtime import kernels

HERE = Path(__file__).parent
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-Wno-unknown-pragmas"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
FORWARDS, BACKWARDS = 0, 1
_TROUBLE = {
    1: "there is no such kernel",
    2: "the grid or the block is outside CUDA's limits",
    3: "it uses __syncthreads() and the shim does not know",
    4: "some threads of a block came to a barrier and some had ended",
}


def compile_shim(library: Path, *flags: str) -> None:
    """Build the shim with the kernels in it."""
    sources = str(Path(kernels.__file__).parent)
    command = ["g++", "-std=c++20", "-O1", "-g1", "-fPIC", "-shared", *WARNINGS, *flags, "-I", sources, "-I", str(HERE)]
    done = subprocess.run([*command, str(HERE / "kernel_shim.cpp"), "-o", str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@functools.cache
def _shared_library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="harmonyrt-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    compile_shim(folder / "kernels.so")
    return folder / "kernels.so"


class HostKernels:
    """Launches kernels on memory of the host, at once.

    Attributes:
        order: of blocks and threads: forwards, backwards, or the seed of a shuffle.
        log: names of what was launched.
    """

    def __init__(self, library: Path, order: int = FORWARDS) -> None:
        self._library = ctypes.CDLL(str(library))
        self.order = order
        self.log: list[str] = []

    @classmethod
    def open(cls, order: int = FORWARDS) -> HostKernels:
        if shutil.which("g++") is None:
            pytest.skip("no C++ compiler (g++) to run the kernels with")
        return cls(_shared_library(), order)

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: Any = None
    ) -> None:
        """Run a kernel to its end; arguments are ctypes values, as for a GPU."""
        places = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(argument) for argument in arguments])
        three = ctypes.c_uint * 3
        trouble = self._library.shim_launch(name.encode(), three(*grid), three(*block), places, self.order)
        assert trouble == 0, f"{name}: {_TROUBLE[trouble]}"
        self.log.append(name)

    def sizes(self) -> list[int]:
        """Bytes of Plane, Space, Maps, Sizes and State, as the compiler has them."""
        found = (ctypes.c_uint * 5)()
        self._library.shim_sizes(found)
        return list(found)
