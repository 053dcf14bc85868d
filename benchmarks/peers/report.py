"""The table of our engines and their peers, from runs of several thread counts."""

from __future__ import annotations

from collections.abc import Sequence

from harmonyrt.benchmarks.compare import Measured, Ratio, ratio
from harmonyrt.benchmarks.results import Run, engine_name, machine_line

EXACT_DB = 80.0
"""What a largest error of 1e-4, the gate of our own FP32 engines, comes to at least."""
LOWEST_DB = {"fp32": EXACT_DB, "fp16": 50.0, "bf16": 42.0, "int8": 38.0}
"""The gates that our own engines pass (docs/precision.md), here for the network's output before blending."""


def pixels(m: Measured) -> str:
    """What a result's distance from PyTorch's comes to: dB, and whether it would pass the gate of its precision."""
    if m.speedup is None:
        return "the reference"
    if m.psnr_to_first_db is None:
        return "another shape"
    lowest = LOWEST_DB[m.about["precision"]]
    return f"{m.psnr_to_first_db:.1f} dB" + ("" if m.psnr_to_first_db >= lowest else f", WRONG: under {lowest:g} dB")


def behind_ours(m: Measured, run: Run) -> Ratio | None:
    """How many times faster our fastest engine of a peer's precision is, turn by turn; None without such an engine."""
    ours = [o for o in run.measured if o.case.kind == "engine" and o.about["precision"] == m.about["precision"]]
    if not ours or m.case.kind == "engine":
        return None
    return ratio(m.samples, min(ours, key=lambda o: o.latency.p50).samples)


def report(runs: Sequence[Run]) -> str:
    """Runs of one size side by side, as Markdown: a row for each engine and peer, who is left out, and the machine."""
    heads = [
        f"ms, {run.measured[0].case.threads} thread{'s' if run.measured[0].case.threads != 1 else ''}" for run in runs
    ]
    columns = ["what", *(column for head in heads for column in (head, "ours is faster by")), "pixels"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    by_name = [{_name(m): m for m in run.measured} for run in runs]
    for name in dict.fromkeys(name for named in by_name for name in named):
        cells: list[str] = []
        for run, named in zip(runs, by_name, strict=True):
            cells += _cells(named.get(name), run)
        found = next(named[name] for named in by_name if name in named)
        lines.append("| " + " | ".join([name, *cells, pixels(found)]) + " |")
    left_out = {name: why for run in runs for name, why in run.left_out.items()}
    lines += ["", *(f"Left out: {name}: {why}." for name, why in left_out.items())]
    lines += ["", f"Machine: {machine_line(runs[0])}.", ""]
    return "\n".join(lines)


def _name(m: Measured) -> str:
    if m.case.kind == "engine":
        return f"HarmonyRT, {engine_name(m)}"
    about = m.about
    return f"{about['backend']} {about['version']}, {about['target']} ({about['precision']})"


def _cells(m: Measured | None, run: Run) -> tuple[str, str]:
    if m is None:
        return "", ""
    times = behind_ours(m, run)
    return f"{m.latency.p50:.0f}", "" if times is None else f"{times.median:.2f}x"
