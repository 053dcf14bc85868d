"""The speed that this project set itself, and what the committed runs say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.benchmarks.compare import Measured
from harmonyrt.benchmarks.results import Run, describe


@dataclass(frozen=True)
class Target:
    """A ratio to PyTorch eager FP32 that one engine of a run has to reach.

    Attributes:
        run: name of the committed run.
        precision: of the engine.
        at_least: the ratio.
        lowest_db: PSNR against PyTorch's output that the engine must keep in the same run; None where the build's gate
            on blended pictures decides.
    """

    run: str
    precision: str
    at_least: float
    lowest_db: float | None


TARGETS = (
    Target("golden-256-1t", "fp32", 2.5, 90),
    Target("golden-512-1t", "fp32", 2.5, 90),
    Target("golden-256-2t", "fp32", 2.1, 90),
    Target("golden-512-2t", "fp32", 2.1, 90),
    Target("golden-256-1t", "bf16", 3.4, 42),
    Target("golden-512-1t", "bf16", 3.4, 42),
    Target("golden-256-1t-int8", "int8", 4.0, None),
    Target("golden-512-1t-int8", "int8", 4.0, None),
)
OPEN_MS = 500
MEMORY_MB = 450
HEAD = ("| target | wanted | measured | by | met |", "|---|---|---|---|---|")


def best(target: Target, run: Run) -> Measured | None:
    """The fastest engine of a run that a target may be met by."""
    fitting = [
        m
        for m in run.measured
        if m.speedup is not None
        and m.subject.kind == "engine"
        and m.about["precision"] == target.precision
        and (target.lowest_db is None or (m.psnr_to_first_db or 0) >= target.lowest_db)
    ]
    return max(fitting, key=lambda m: m.speedup.median if m.speedup else 0, default=None)


def targets(runs: Sequence[Run], folder: Path) -> str:
    """The table of targets as Markdown."""
    by_name = {run.name: run for run in runs}
    lines = [*HEAD, *(_row(target, by_name.get(target.run)) for target in TARGETS), *_opening(folder / "opening.json")]
    return "\n".join(["### Targets", "", *lines, ""])


def _row(target: Target, run: Run | None) -> str:
    _, size, threads = target.run.split("-")[:3]
    what = f"{target.precision}, {size} px, {threads.removesuffix('t')} thread{'s' if threads != '1t' else ''}"
    if target.lowest_db is not None:
        what += f", at least {target.lowest_db} dB"
    found = None if run is None else best(target, run)
    if found is None or found.speedup is None:
        why = "not measured" if run is None else "no engine of this precision in the run"
        return f"| {what} | {target.at_least:.1f}x | {why} | | no |"
    ratio = f"{found.speedup.median:.2f}x ({found.speedup.low:.2f}-{found.speedup.high:.2f})"
    met = "yes" if found.speedup.median >= target.at_least else "no"
    return f"| {what} | {target.at_least:.1f}x | {ratio} | {describe(found)} | {met} |"


def _opening(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    quick = min(rows, key=lambda row: row["open_ms"])
    small = min(rows, key=lambda row: row["peak_rss_mb"])
    for what, wanted, key, unit, row in (
        ("opening with a filled cache, 256 px", OPEN_MS, "open_ms", "ms", quick),
        ("peak resident memory of the smallest variant, 256 px", MEMORY_MB, "peak_rss_mb", "MB", small),
    ):
        met = "yes" if row[key] < wanted else "no"
        yield f"| {what} | under {wanted} {unit} | {row[key]} {unit} | {row['bundle']}, {row['engine']} | {met} |"
