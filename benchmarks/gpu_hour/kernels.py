"""Part 5: our CUDA kernels, compiled by NVRTC for this GPU, against the CPU's path: the kernels' own tests."""

from __future__ import annotations

from pathlib import Path

from harmonyrt.benchmarks.gpu_hour.hour import ROOT, Hour, NotHere
from harmonyrt.benchmarks.gpu_hour.testing import TESTS, run_file

_NAMES = ("test_kernels*.py", "test_nvrtc*.py", "test_device_pictures*.py")


def run(hour: Hour) -> None:
    """One row for each test file. A dry run only collects them: they run in the suite of the checkout anyway."""
    if not hour.step("kernels of this version", lambda: {"tests": [str(p.relative_to(ROOT)) for p in files()]}):
        return
    for path in files():
        run_file(hour, path, ["--collect-only"] if hour.dry else [])


def files() -> list[Path]:
    """The kernels' tests.

    Raises:
        NotHere: this version has none.
    """
    found = sorted({path for name in _NAMES for path in (TESTS / "runtime").rglob(name)}) if TESTS.is_dir() else []
    if not found:
        raise NotHere("not there: this checkout has no tests of CUDA kernels (tests/runtime/test_kernels.py)")
    return found
