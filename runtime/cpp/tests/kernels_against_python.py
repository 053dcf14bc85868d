"""libharmonyrt compiles the CUDA kernels with the real NVRTC, and Python finds them in the cache as its own.

python runtime/cpp/tests/kernels_against_python.py build/cpp/release/tests/test_device

Without NVRTC (pip install 'harmonyrt[kernels]') there is nothing to compare: exit code 77, which CTest takes as a skip.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.kernels import nvrtc
from harmonyrt.runtime.kernels.loaded import cache_key

CAPABILITY = (8, 9)  # of the simulated GPU


def main() -> int:
    """Exit code 0 when Python finds the entry, and its content is what Python would have made."""
    installed = {one.version[0]: one for one in nvrtc.installed()}
    files = nvrtc._in_packages("libnvrtc.so.13")
    if 13 not in installed or not files:
        print("no NVRTC 13 of pip is installed")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HRT_REAL_NVRTC": str(files[0]), "HRT_REAL_CACHE": folder}
        subprocess.run([sys.argv[1], "--test-case=kernels of a real NVRTC*"], check=True, env=environment)
        entry = CompiledCache.at(folder).read(cache_key(CAPABILITY, installed[13].version))
        if entry is None:
            print("Python does not find the entry that libharmonyrt wrote")
            return 1
        if entry.tobytes() != installed[13].compile(CAPABILITY).cubin:
            print("the entry holds other machine code than Python makes")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
