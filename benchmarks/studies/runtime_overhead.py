"""What the runtime adds to its engine: fit, and edit upsampling with blend, per picture size and thread count.

    python -m harmonyrt.benchmarks.studies.runtime_overhead BUNDLE [--backend openvino] --json FILE

Medians over calls of one process, thread counts interleaved; the picture is noise with a foreground of 30 %.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from datetime import date
from pathlib import Path

import numpy as np

from harmonyrt.benchmarks.sharing import noise_composite
from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.machine import machine_name

SIZES = {"1 MP": (1024, 1024), "12 MP": (3000, 4000), "24 MP": (4000, 6000)}
STAGES = ("fit", "engine", "carry_back")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pictures", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    open_with = {n: Harmonizer.open(arguments.bundle, arguments.backend, n) for n in arguments.threads}
    rows = []
    for size in arguments.pictures:
        composite, mask = noise_composite(*SIZES[size])
        seen: dict[int, list[tuple[float, ...]]] = {n: [] for n in open_with}
        for round_number in range(arguments.rounds + 2):
            for threads, harmonizer in open_with.items():
                harmonizer.harmonize(composite, mask)
                if round_number >= 2:  # the first two warm caches and clocks
                    seen[threads].append(tuple(getattr(harmonizer.timings, stage) for stage in STAGES))
        for threads, times in seen.items():
            medians = [round(1000 * statistics.median(column), 1) for column in zip(*times, strict=True)]
            rows.append({"size": size, "threads": threads, **dict(zip(STAGES, medians, strict=True))})
    print("| picture | threads | fit, ms | edit upsampling and blend, ms | together, ms | engine, ms |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        together = row["fit"] + row["carry_back"]
        cells = (row["size"], row["threads"], row["fit"], row["carry_back"], f"{together:.1f}", row["engine"])
        print("| " + " | ".join(map(str, cells)) + " |")
    if arguments.json:
        info = next(iter(open_with.values())).info
        report = {
            "what": "medians in milliseconds of one call's stages",
            "command": "python -m harmonyrt.benchmarks.studies.runtime_overhead BUNDLE --json FILE",
            "machine": machine_name(),
            "date": str(date.today()),
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
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
