"""Pictures in a GPU's memory: one call of `harmonize_on_device`, next to `harmonize` from and to the host.

    python -m harmonyrt.benchmarks.studies.device_pictures BUNDLE [--backend tensorrt] --json FILE

Medians of whole calls by the host's clock, each waiting for its result, the two ways interleaved; the picture is noise
with a foreground of 30 %. Largest difference: between the two results, in levels of 255.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.sharing import noise_composite
from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.backends.device_memory import DeviceMemory
from harmonyrt.runtime.machine import machine_name

SIZES = {"1 MP": (1024, 1024), "12 MP": (3000, 4000), "24 MP": (4000, 6000)}
_WARM = 3  # calls that compile, load, run plainly and record


def measure(harmonizer: Harmonizer, sizes: dict[str, tuple[int, int]], rounds: int) -> list[dict[str, Any]]:
    """One row for each size.

    Args:
        harmonizer: with an engine on a GPU.
        sizes: height and width by name.
        rounds: calls of each way that count.
    """
    device = cuda.open_cuda()
    stream = device.create_stream()
    rows = []
    for name, size in sizes.items():
        composite, mask = noise_composite(*size)
        given, levels, out = (_put(device, stream, array) for array in (composite, mask, np.zeros_like(composite)))
        on_device, on_host = [], []
        for turn in range(rounds + _WARM):
            times, _ = _timed(harmonizer.harmonize_on_device, given, levels, out)
            host, expected = _timed(harmonizer.harmonize, composite, mask)
            if turn >= _WARM:
                on_device.append(times)
                on_host.append(host)
        found = np.empty_like(composite)
        device.copy(found.ctypes.data, out.address, found.nbytes, stream)
        device.synchronize(stream)
        rows.append({
            "size": name,
            "on_device": round(statistics.median(on_device), 3),
            "host_to_host": round(statistics.median(on_host), 1),
            "largest_difference": int(np.abs(found.astype(int) - expected).max()),
        })  # fmt: skip
    device.destroy_stream(stream)
    return rows


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Milliseconds that a call took, and its result."""
    began = time.perf_counter()
    result = work(*arguments)
    return 1000 * (time.perf_counter() - began), result


def _put(device: cuda.Cuda, stream: Any, array: np.ndarray) -> DeviceArray:
    array = np.ascontiguousarray(array)
    placed = DeviceArray(0, array.shape, array.dtype).holding(DeviceMemory(device, array.nbytes))
    device.copy(placed.address, array.ctypes.data, array.nbytes, stream)
    device.synchronize(stream)
    return placed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", default="tensorrt")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pictures", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    harmonizer = Harmonizer.open(arguments.bundle, arguments.backend, device="cuda:0")
    rows = measure(harmonizer, {name: SIZES[name] for name in arguments.pictures}, arguments.rounds)
    print("| picture | in device memory, ms | host to host, ms | largest difference |")
    print("|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if arguments.json:
        device, info = cuda.open_cuda(), harmonizer.info
        report = {
            "what": "medians in milliseconds of whole calls",
            "command": "python -m harmonyrt.benchmarks.studies.device_pictures BUNDLE --json FILE",
            "machine": machine_name(),
            "gpu": device.name(0),
            "date": str(date.today()),
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "cuda": device.driver()},
            "bundle": Path(info.bundle).name,
            "engine_size": info.size,
            "parameters": info.parameters,
            "backend": f"{info.backend} {info.precision}",
            "rounds": arguments.rounds,
            "rows": rows,
        }
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
