"""Calls per second of several threads that share one `Harmonizer`, against a plain lock around it.

    python -m harmonyrt.benchmarks.sharing BUNDLE --json FILE

The picture has 1 megapixel and a foreground of 30 %. Ways and numbers of threads take turns; medians over rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import threading
import time
from datetime import date
from pathlib import Path

import numpy as np

from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.machine import machine_name

WAYS = {"a lock": 1, "sessions=1": 1, "default": None, "sessions=2": 2}
CALLERS = (1, 2, 4, 8)


def noise_composite(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A composite, and an ellipse with a soft border that covers 30 % of it."""
    composite = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    down = (np.arange(height, dtype=np.float32)[:, None] / height - 0.48) / 0.28
    across = (np.arange(width, dtype=np.float32)[None] / width - 0.53) / 0.341
    return composite, (np.clip((1 - np.hypot(down, across)) / 0.02 + 0.5, 0, 1) * 255).astype(np.uint8)


def rate(harmonizer: Harmonizer, lock: contextlib.AbstractContextManager, callers: int, calls: int) -> float:
    """Calls per second of `callers` threads that make `calls` between them."""
    composite, mask = noise_composite(1024, 1024)
    barrier = threading.Barrier(callers + 1)

    def work() -> None:
        barrier.wait()
        for _ in range(calls // callers):
            with lock:
                harmonizer.harmonize(composite, mask)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return calls // callers * callers / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backends", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--threads", type=int, default=2, help="of each Harmonizer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=16, help="of a measurement, shared by its threads")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    opened = {
        (backend, way): Harmonizer.open(arguments.bundle, backend, arguments.threads, sessions=sessions)
        for backend in arguments.backends
        for way, sessions in WAYS.items()
    }
    seen: dict[tuple[str, str, int], list[float]] = {}
    load_before = os.getloadavg()[0]
    for round_number in range(arguments.rounds + 1):
        for callers in CALLERS:
            for (backend, way), harmonizer in opened.items():
                lock = threading.Lock() if way == "a lock" else contextlib.nullcontext()
                calls = arguments.calls if round_number else callers  # the first round warms up
                found = rate(harmonizer, lock, callers, calls)
                if round_number:
                    seen.setdefault((backend, way, callers), []).append(found)
    rows = [
        {"backend": backend, "way": way, "callers": callers, "calls_per_s": round(statistics.median(rates), 2),
         "low": round(min(rates), 2), "high": round(max(rates), 2)}
        for (backend, way, callers), rates in seen.items()
    ]  # fmt: skip
    print("| backend | way | " + " | ".join(f"{n} callers" for n in CALLERS) + " |")
    print("|---|---|" + "---|" * len(CALLERS))
    for backend, way in opened:
        cells = [f"{statistics.median(seen[backend, way, n]):.2f}" for n in CALLERS]
        print(f"| {backend} | {way} | {' | '.join(cells)} |")
    if arguments.json:
        info = next(iter(opened.values())).info
        report = {
            "what": "calls per second of threads that share one Harmonizer; median, lowest and highest of the rounds",
            "command": f"python -m harmonyrt.benchmarks.sharing BUNDLE --threads {arguments.threads}"
            f" --rounds {arguments.rounds} --calls {arguments.calls} --json FILE",
            "machine": machine_name(),
            "date": str(date.today()),
            "load_average": [round(load_before, 1), round(os.getloadavg()[0], 1)],
            "versions": {"python": platform.python_version()},
            "bundle": Path(info.bundle).name,
            "engine_size": info.size,
            "parameters": info.parameters,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "rows": rows,
        }
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
