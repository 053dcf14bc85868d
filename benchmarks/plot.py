"""A plot of a run: latency distributions on the left, FPS on the right."""

from __future__ import annotations

from pathlib import Path

from harmonyrt.benchmarks.results import Run, describe, short_machine_line
from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole

_ANONYMOUS: dict[str, dict[str, None]] = {".png": {"Software": None}, ".svg": {"Date": None}}
"""By suffix: what would make the same picture another file."""


def kind_of(path: str | Path) -> str:
    """Suffix of a picture that can be drawn.

    Raises:
        HarmonyError: another suffix.
    """
    kind = Path(path).suffix.lower()
    if kind not in _ANONYMOUS:
        raise HarmonyError(f"{path} cannot be drawn; give a name that ends in {' or '.join(_ANONYMOUS)}")
    return kind


def plot(run: Run, path: str | Path) -> None:
    """Draw a run as PNG or SVG, by the suffix of `path`.

    Raises:
        HarmonyError: matplotlib is missing, or `path` cannot be written.
    """
    kind = kind_of(path)
    matplotlib = require("matplotlib", "bench", "drawing a benchmark")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "bench", "drawing a benchmark")
    names = [describe(m) for m in run.measured]
    height = 1.2 + 0.45 * len(names)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, height), sharey=True, layout="constrained")
    samples = [[s for turn in m.samples for s in turn] for m in run.measured]
    left.boxplot(samples, orientation="horizontal", whis=(1, 99), showfliers=False, tick_labels=names)
    left.set_xlabel("latency, ms (box: quartiles, whiskers: 1-99 %)")
    left.set_xlim(left=0)
    left.invert_yaxis()
    bars = right.barh(range(1, len(names) + 1), [m.latency.fps * m.case.batch for m in run.measured], height=0.6)
    ratios = ["" if m.speedup is None else f"{m.speedup.median:.2f}x" for m in run.measured]
    right.bar_label(bars, ratios, padding=3)
    right.margins(x=0.15)
    right.set_xlabel("pictures per second at the median")
    figure.suptitle(f"{run.name}: {short_machine_line(run)}", fontsize=9)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=100, metadata=_ANONYMOUS[kind])
    pyplot.close(figure)
