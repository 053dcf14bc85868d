"""How long a bundle takes to open, without and with the backend's cache, and how much memory it then holds.

    python -m harmonyrt.benchmarks.studies.opening BUNDLE... [--backend openvino] --json benchmarks/results/opening.json

Every figure comes from a separate process, which opens the bundle (manifest, hashes, backend, engine) with a cache
folder of this run, empty for the first process and filled for the next three (median), and makes one call. Imports of
the process are not in the times; they are in the memory. What FILE says of other bundles and backends of the same
machine stays in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.worker import peak_rss_mb
from harmonyrt.common import WorkFailed
from harmonyrt.common.files import write_json
from harmonyrt.common.programs import module_command
from harmonyrt.runtime.machine import machine_name

REOPENED = 3


def open_once(bundle: str, backend: str, threads: int, cache: str) -> dict[str, Any]:
    """Open and call once, in this process."""
    import numpy as np

    from harmonyrt.runtime import Harmonizer

    if backend == "openvino":
        import openvino  # noqa: F401  (its import is the process's, not the opening's)
    start = time.perf_counter()
    harmonizer = Harmonizer.open(bundle, backend=backend, threads=threads, cache=cache)
    opened = time.perf_counter()
    side = max(harmonizer.info.size or (256, 256))
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = 255
    harmonizer.harmonize(picture, mask)
    called = time.perf_counter()
    info = harmonizer.info
    return {
        "engine": f"{info.backend} {info.precision}{', native kernels' if info.native else ''}",
        "parameters": info.parameters,
        "open_ms": (opened - start) * 1000,
        "first_call_ms": (called - opened) * 1000,
        "peak_rss_mb": peak_rss_mb(),
    }


def measure(bundle: Path, backend: str, threads: int) -> dict[str, Any]:
    """One row: opening with an empty cache, and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        command = [*module_command("harmonyrt.benchmarks.studies.opening"), str(bundle), "--backend", backend]
        command += ["--threads", str(threads), "--once", cache]
        seen = []
        for _ in range(1 + REOPENED):
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode != 0:
                raise WorkFailed(f"{bundle} could not be opened: {ended.stderr.strip().splitlines()[-1]}")
            seen.append(json.loads(ended.stdout.splitlines()[-1]))
        megabytes = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file()) / 1e6
    again = {key: statistics.median(one[key] for one in seen[1:]) for key in ("open_ms", "first_call_ms")}
    return {
        "bundle": str(bundle),
        "engine": seen[0]["engine"],
        "parameters": seen[0]["parameters"],
        "threads": threads,
        "open_empty_cache_ms": round(seen[0]["open_ms"]),
        "open_ms": round(again["open_ms"]),
        "first_call_ms": round(again["first_call_ms"]),
        "peak_rss_empty_cache_mb": round(seen[0]["peak_rss_mb"] or 0),
        "peak_rss_mb": round(max(one["peak_rss_mb"] or 0 for one in seen[1:])),
        "cache_mb": round(megabytes),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", metavar="CACHE", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.once:
        print(json.dumps(open_once(str(arguments.bundles[0]), arguments.backend, arguments.threads, arguments.once)))
        return 0
    rows = [measure(bundle, arguments.backend, arguments.threads) for bundle in arguments.bundles]
    report = {
        "what": "opening a bundle, and peak resident memory of a process that opened it and made one call",
        "command": "python -m harmonyrt.benchmarks.studies.opening BUNDLE... --json FILE",
        "machine": machine_name(),
        "date": str(date.today()),
        "rows": rows,
    }
    print(json.dumps(report, indent=1))
    if arguments.json:
        report["rows"] = [*_others(arguments.json, report), *rows]
        write_json(arguments.json, report)
    return 0


def _others(path: Path, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a file for what this report does not measure again."""
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    measured = {(row["bundle"], row["engine"], row["threads"]) for row in report["rows"]}
    kept = [row for row in before["rows"] if (row["bundle"], row["engine"], row["threads"]) not in measured]
    return kept if before["machine"] == report["machine"] else []


if __name__ == "__main__":
    sys.exit(main())
