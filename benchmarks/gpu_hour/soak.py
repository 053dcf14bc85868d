"""Many calls on one open bundle: the same picture gives the same bytes, and memory does not grow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.bundles import runnable
from harmonyrt.benchmarks.gpu_hour.hour import Hour, TimeUsedUp
from harmonyrt.common import WorkFailed

CALLS = 20_000
SAMPLES = 200
WARM = 0.05
"""Share of the calls in which memory may still grow: libraries set themselves up, allocators find their size."""
MOST_GROWTH_MB = {"resident_mb": 64.0, "gpu_mb": 32.0}
SIZES = ((512, 512), (480, 640), (333, 777), (1080, 1920))
"""Heights and widths of the pictures, in turn: buffers of several sizes come and go."""


def run(hour: Hour) -> None:
    """One row for the bundle, one for the calls."""
    found: list[tuple[Path, str]] = []
    if hour.step("a bundle that runs here", lambda: _found(hour, found)):
        hour.step("soak", lambda: _soak(hour, *found[0]))


def _found(hour: Hour, found: list[tuple[Path, str]]) -> dict[str, Any]:
    found.append(runnable(hour))
    return {"bundle": found[0][0].name, "target": found[0][1]}


def _soak(hour: Hour, bundle: Path, target: str) -> dict[str, Any]:
    from harmonyrt.runtime import Harmonizer

    wanted = dry.CALLS if hour.dry else CALLS
    memory = Memory(hour.dry)
    with Harmonizer.open(bundle, target=target, device="cpu" if hour.dry else "cuda") as harmonizer:
        pairs = pictures()
        first = [harmonizer.harmonize(*pair) for pair in pairs]
        done, begun = 0, time.monotonic()
        while done < wanted and hour.left > 10:
            for turn, pair in enumerate(pairs):
                if not np.array_equal(harmonizer.harmonize(*pair), first[turn]):
                    raise WorkFailed(f"call {done + turn + 1} gave other bytes than the first call of the same picture")
            done += len(pairs)
            if done % max(len(pairs), wanted // SAMPLES // len(pairs) * len(pairs)) < len(pairs):
                memory.look(done)
        seconds = time.monotonic() - begun
    growth = memory.growth(WARM * wanted)
    measured = {
        "calls": done,
        "calls_per_second": round(done / max(seconds, 1e-9), 1),
        "growth_mb": growth,
        "memory": memory.samples,
    }
    grown = [f"{name} by {value:.0f} MB" for name, value in growth.items() if value > MOST_GROWTH_MB[name]]
    if grown and not hour.dry:
        hour.add("memory", "failed", f"grew after the first calls: {', '.join(grown)}", measured)
        raise WorkFailed("memory grew")
    if done < wanted:
        hour.add("calls so far", "short", f"{done} of {wanted} calls fitted into the time", measured)
        raise TimeUsedUp("the calls did not fit into the time; the row above has what was done")
    return measured


def pictures() -> list[tuple[np.ndarray, np.ndarray]]:
    """Composites and masks of several sizes."""
    return [picture(*size) for size in SIZES]


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A composite (height x width x 3, uint8) and a mask of it (uint8) with a soft edge."""
    rows, columns = np.ogrid[0:height, 0:width]
    distance = np.hypot(rows - height / 2, columns - width / 2)
    mask = (255 * np.clip((min(height, width) / 4 - distance) / 3, 0, 1)).astype(np.uint8)
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), mask


class Memory:
    """Resident memory of this process, and memory in use on the GPU, over the calls."""

    def __init__(self, without_gpu: bool) -> None:
        self._device: Any = None
        self.samples: list[dict[str, float]] = []
        if not without_gpu:
            from harmonyrt.runtime.backends import cuda

            self._device = cuda.open_cuda()

    def look(self, calls: int) -> None:
        """Note how much is in use."""
        sample = {"calls": calls, "resident_mb": resident_mb()}
        if self._device is not None:
            free, total = self._device.memory()
            sample["gpu_mb"] = round((total - free) / 1e6, 1)
        self.samples.append(sample)

    def growth(self, warm: float) -> dict[str, float]:
        """By how much the last fifth lies above the first fifth after `warm` calls, in MB by medians.

        What the GPU holds for other programs counts too: keep them away.
        """
        after = [sample for sample in self.samples if sample["calls"] >= warm] or self.samples
        count = max(1, len(after) // 5)
        names = [name for name in MOST_GROWTH_MB if after and name in after[0]]
        median = {
            name: [float(np.median([s[name] for s in some])) for some in (after[:count], after[-count:])]
            for name in names
        }
        return {name: round(last - first, 1) for name, (first, last) in median.items()}


def resident_mb() -> float:
    """Resident memory of this process in MB; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    import resource

    return round(pages * resource.getpagesize() / 1e6, 1)
