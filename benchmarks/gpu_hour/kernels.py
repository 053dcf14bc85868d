"""Our CUDA kernels, compiled by NVRTC for this GPU: whole pictures against the CPU's path, and their tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.gpu_hour.bundles import runnable
from harmonyrt.benchmarks.gpu_hour.hour import ROOT, Hour, NotHere
from harmonyrt.benchmarks.gpu_hour.soak import picture
from harmonyrt.benchmarks.gpu_hour.testing import TESTS, run_file
from harmonyrt.benchmarks.timing import summarize
from harmonyrt.common import WorkFailed
from harmonyrt.common.errors import require

_NAMES = ("test_kernels*.py", "test_nvrtc*.py", "test_device_pictures*.py")
SIZES = ((512, 512), (1080, 1920), (3000, 4000))
"""The last has 12 megapixels: the work around the network costs the CPU many times what the engine takes."""
_CALLS = 50
_MOST_LEVELS = 1
"""By which a result may differ from the CPU's; outside the mask, not at all."""


def run(hour: Hour) -> None:
    """Whole pictures first, then a row for each test file; a dry run only collects one, since they run elsewhere."""
    for size in [(96, 80)] if hour.dry else SIZES:
        hour.step(f"{size[0]} x {size[1]} against the CPU", partial(_against_host, hour, *size), least=10)
    if hour.step("the kernels' tests", lambda: {"files": [str(path.relative_to(ROOT)) for path in files()]}):
        for path in files()[:1] if hour.dry else files():
            run_file(hour, path, ["--collect-only"] if hour.dry else [])


def files() -> list[Path]:
    """The kernels' tests.

    Raises:
        NotHere: this version has none.
    """
    found = {path for name in _NAMES for path in (TESTS / "runtime").rglob(name)} if TESTS.is_dir() else set()
    if not found:
        raise NotHere("not there: this checkout has no tests of CUDA kernels (tests/runtime/test_kernels.py)")
    return sorted(found, key=lambda path: ("gpu" not in path.name, path))  # those of the GPU first


def _against_host(hour: Hour, height: int, width: int) -> dict[str, Any]:
    """One picture, in device memory and in the host's, and how long both take from arrays to arrays."""
    from harmonyrt.runtime import Harmonizer

    bundle, target = runnable(hour)
    composite, mask = picture(height, width)
    calls = 2 if hour.dry else _CALLS
    with Harmonizer.open(bundle, target=target, device="cpu" if hour.dry else "cuda") as harmonizer:
        on_device, fetch = _device_call(hour, harmonizer, composite, mask)
        expected = harmonizer.harmonize(composite, mask)
        for _ in range(3):  # the first compiles and runs plainly, the second records, the third is replayed
            found = fetch(on_device())
            levels = np.abs(found.astype(np.int16) - expected)
            if not np.array_equal(found[mask == 0], composite[mask == 0]):
                raise WorkFailed("pixels outside the mask were changed")
            if levels.max() > _MOST_LEVELS:
                raise WorkFailed(f"it differs from the CPU's path by {levels.max()} levels, {_MOST_LEVELS} is allowed")
        device_ms = summarize([_timed(on_device) for _ in range(calls)]).p50
        host_ms = summarize([_timed(lambda: harmonizer.harmonize(composite, mask)) for _ in range(min(calls, 10))]).p50
    return {
        "bundle": bundle.name,
        "target": target,
        "most_levels": int(levels.max()),
        "pixels_that_differ": int((levels.max(axis=2) > 0).sum()),
        "device_ms_p50": round(device_ms, 3),
        "host_ms_p50": round(host_ms, 3),
    }


def _device_call(
    hour: Hour, harmonizer: Any, composite: np.ndarray, mask: np.ndarray
) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    """A call on arrays of the GPU that waits for its result, and how that is brought to the host.

    A dry run has no GPU and takes the CPU's path instead.
    """
    if hour.dry:
        return lambda: harmonizer.harmonize(composite, mask), np.asarray
    torch = require("torch", "build", "pictures on the GPU")
    moved = [torch.from_numpy(array).cuda() for array in (composite, mask)]
    out = torch.empty_like(moved[0])
    return lambda: harmonizer.harmonize_on_device(*moved, out), lambda found: found.cpu().numpy()


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)
