"""This project's speed goals, and what the committed runs say about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.benchmarks.compare import Measured
from harmonyrt.benchmarks.results import Run, describe


@dataclass(frozen=True)
class Goal:
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


GOALS = (
    Goal("golden-256-1t", "fp32", 2.5, 90),
    Goal("golden-512-1t", "fp32", 2.5, 90),
    Goal("golden-256-2t", "fp32", 2.1, 90),
    Goal("golden-512-2t", "fp32", 2.1, 90),
    Goal("golden-256-1t", "bf16", 3.4, 42),
    Goal("golden-512-1t", "bf16", 3.4, 42),
    Goal("golden-256-1t-int8", "int8", 4.0, None),
    Goal("golden-512-1t-int8", "int8", 4.0, None),
)
LARGE = 30_000_000
"""Parameters: the goals are for the larger network."""
OPEN_MS = 500
OVERHEAD_SHARE = 0.1
OVERHEAD_MS = 150
MEMORY_MB = 450
HEAD = ("| goal | wanted | measured | by | met |", "|---|---|---|---|---|")


def best(goal: Goal, run: Run) -> Measured | None:
    """The fastest engine of a run that a goal may be met by."""
    fitting = [
        m
        for m in run.measured
        if m.speedup is not None
        and m.case.kind == "engine"
        and m.about["precision"] == goal.precision
        and (goal.lowest_db is None or (m.psnr_to_first_db or 0) >= goal.lowest_db)
    ]
    return max(fitting, key=lambda m: m.speedup.median if m.speedup else 0, default=None)


def goals(runs: Sequence[Run], folder: Path) -> str:
    """The table of goals as Markdown."""
    by_name = {run.name: run for run in runs}
    # INT8 may be part of the run of the other precisions.
    found = {goal: by_name.get(goal.run) or by_name.get(goal.run.removesuffix("-int8")) for goal in GOALS}
    lines = [*HEAD, *(_row(goal, run) for goal, run in found.items()), *_opening(folder / "opening.json")]
    lines += _overhead(folder / "around_engine-1024.json")
    return "\n".join(["### Goals", "", *lines, ""])


def _row(goal: Goal, run: Run | None) -> str:
    _, size, threads = goal.run.split("-")[:3]
    what = f"{goal.precision}, {size} px, {threads.removesuffix('t')} thread{'s' if threads != '1t' else ''}"
    if goal.lowest_db is not None:
        what += f", at least {goal.lowest_db} dB"
    found = None if run is None else best(goal, run)
    if found is None or found.speedup is None:
        why = "not measured" if run is None else "no engine of this precision in the run"
        return f"| {what} | {goal.at_least:.1f}x | {why} | | no |"
    ratio = f"{found.speedup.median:.2f}x ({found.speedup.low:.2f}-{found.speedup.high:.2f})"
    met = "yes" if found.speedup.median >= goal.at_least else "no"
    return f"| {what} | {goal.at_least:.1f}x | {ratio} | {describe(found)} | {met} |"


def _opening(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    large = [row for row in rows if row["parameters"] > LARGE]
    slow = max(large, key=lambda row: row["open_ms"])
    small = min(large, key=lambda row: row["peak_rss_mb"])
    for what, wanted, key, unit, row in (
        ("opening with a filled cache, 256 px, the slowest", OPEN_MS, "open_ms", "ms", slow),
        ("peak resident memory of the smallest variant, 256 px", MEMORY_MB, "peak_rss_mb", "MB", small),
    ):
        met = "yes" if row[key] < wanted else "no"
        yield f"| {what} | under {wanted} {unit} | {row[key]} {unit} | {row['bundle']}, {row['engine']} | {met} |"


def _overhead(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    small = [row for row in rows if row["size"] == "1 MP"]
    share = max((row["fit"] + row["carry_back"]) / row["engine"] for row in small)
    met = "yes" if share < OVERHEAD_SHARE else "no"
    what = "fit, edit upsampling and blend, 1024 px in and engine of 1024 px, 1 and 2 threads"
    yield f"| {what} | under {OVERHEAD_SHARE:.0%} of the engine | {share:.1%} | engine of 10 M | {met} |"
    most = next(row["fit"] + row["carry_back"] for row in rows if (row["size"], row["threads"]) == ("12 MP", 2))
    met = "yes" if most < OVERHEAD_MS else "no"
    what = "the same for 12 megapixels, 2 threads"
    yield f"| {what} | under {OVERHEAD_MS} ms | {most:.0f} ms | engine of 1024 px | {met} |"
