"""The tables of README.md (one) and docs/benchmarks.md (three): the default engines, and what they cost to open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.benchmarks.compare import Measured
from harmonyrt.benchmarks.report.pictures import frame_rates
from harmonyrt.benchmarks.results import Run, short_machine_line

THREADS = 2
SIZES = (256, 512, 1024)
LEFT_OUT = ("no rewrites", "low memory", "torch compile fp32")
"""Ends of names of engines that nobody builds by default, and a baseline that is no faster: see benchmarks/results/."""


def front_page(runs: Sequence[Run], elsewhere: Sequence[Sequence[Run]], opening: Path) -> str:
    """The tables as Markdown.

    Args:
        runs: of the first machine.
        elsewhere: runs of each further machine.
        opening: what `harmonyrt.benchmarks.studies.opening` wrote.
    """
    parts = [speed(machine) for machine in (runs, *elsewhere) if machine]
    return "\n".join([*parts, *cost(opening)])


def readme(runs: Sequence[Run]) -> str:
    """The table of the shipped weights' size at the smaller sizes, on the first machine, without slower twins."""
    return speed([run for run in runs if "10m" in run.name], sizes=SIZES[:2], without=("onnxruntime",))


def speed(runs: Sequence[Run], sizes: Sequence[int] = SIZES, without: tuple[str, ...] = ()) -> str:
    """Images per second of the default engines of one machine, and how many times faster than PyTorch eager."""
    rates = {key: m for key, m in frame_rates(runs).items() if key[1] == THREADS and key[2] in sizes}
    columns = sorted({(network, size) for network, _, size, _ in rates}, key=lambda c: (float(c[0].split()[1]), c[1]))
    names = dict.fromkeys(name for *_, name in rates if not (name.endswith(LEFT_OUT) or name.startswith(without)))
    lines = [f"### {short_machine_line(runs[0]).partition(';')[0]}, {THREADS} threads", ""]
    heads = (f"{network.removeprefix('PHNet ')}, {size} px" for network, size in columns)
    lines.append("| engine | " + " | ".join(heads) + " |")
    lines.append("|---|" + "---|" * len(columns))
    for name in names:
        cells = [_cell(rates.get((network, THREADS, size, name))) for network, size in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _cell(m: Measured | None) -> str:
    if m is None:
        return ""
    rate = f"{m.latency.fps:.2f}" if m.latency.fps < 10 else f"{m.latency.fps:.1f}"
    return rate if m.speedup is None else f"{rate} ({m.speedup.median:.1f}x)"


def cost(path: Path) -> list[str]:
    """Opening time and memory at 256 px, by default and with `--rewrites low-memory`; nothing without the file."""
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    lines = ["### Opening and memory, 256 px", ""]
    lines += ["| network, engine | variant | first opening, ms | later, ms | peak memory, MB | cache on disk, MB |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in sorted(report["rows"], key=lambda row: (row["parameters"], row["engine"], row["open_empty_cache_ms"])):
        engine, _, kernels = row["engine"].partition(", ")
        variant = kernels or ("low memory" if "low-memory" in row["bundle"] else "default")
        cells = (row["open_empty_cache_ms"], row["open_ms"], row["peak_rss_empty_cache_mb"], row["cache_mb"])
        network = f"{row['parameters'] / 1e6:.1f} M"
        lines.append("| " + " | ".join(map(str, (f"{network}, {engine}", variant, *cells))) + " |")
    return [*lines, "", f"{report['machine']}, {report['date']}, one thread."]
