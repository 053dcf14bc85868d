"""The pictures of docs/benchmarks.md, drawn from the committed runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harmonyrt.benchmarks.compare import Measured
from harmonyrt.benchmarks.plot import plot
from harmonyrt.benchmarks.results import Run, engine_name, short_machine_line
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole

LATENCIES = ("golden-256-1t", "golden-10m-256-1t")
"""Runs whose latency distribution is drawn."""
_GROUP_WIDTH = 0.85


def draw(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw latency distributions, and frame rates by size and engine for each network.

    Returns:
        The files, PNG; those without measurements are not drawn.

    Raises:
        HarmonyError: matplotlib is missing, or `folder` cannot be written.
    """
    drawn = []
    for run in runs:
        if run.name in LATENCIES:
            drawn.append(folder / f"latency-{run.name}.png")
            plot(run, drawn[-1])
    rates = frame_rates(runs)
    for network in dict.fromkeys(network for network, *_ in rates):
        drawn.append(folder / f"fps-{network.split()[1]}m.png")
        _draw_rates(network, rates, runs[0], drawn[-1])
    return drawn


Key = tuple[str, int, int, str]
"""Network, threads, side in pixels, engine."""


def frame_rates(runs: Sequence[Run]) -> dict[Key, Measured]:
    """Engines and PyTorch by network, threads, size and name; of duplicates, that of the run with the most engines.

    Rates of one run belong together: machines differ from day to day.
    """
    found: dict[Key, Measured] = {}
    for run in sorted(runs, key=lambda run: -len(run.measured)):
        for m in run.measured:
            case = m.case
            square = case.height == case.width and case.batch == 1
            if case.kind != "picture" and square and case.threads is not None and "model" in m.about:
                found.setdefault((m.about["model"], case.threads, case.height, engine_name(m)), m)
    return found


def _draw_rates(network: str, rates: dict[Key, Measured], run: Run, path: Path) -> None:
    matplotlib = require("matplotlib", "bench", "drawing a benchmark")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "bench", "drawing a benchmark")
    own = {key[1:]: m for key, m in rates.items() if key[0] == network}
    counts = sorted({threads for threads, *_ in own})
    sizes = sorted({size for _, size, _ in own})
    engines = list(dict.fromkeys(engine for *_, engine in own))
    colours = matplotlib.colormaps["tab20"].colors
    figure, panels = pyplot.subplots(1, len(counts), figsize=(5.2 * len(counts) + 2, 4.6), sharey=True, squeeze=False,
                                     layout="constrained")  # fmt: skip
    width = _GROUP_WIDTH / len(engines)
    for panel, threads in zip(panels[0], counts, strict=True):
        for number, engine in enumerate(engines):
            there = [(i, own[threads, size, engine]) for i, size in enumerate(sizes) if (threads, size, engine) in own]
            places = [i + (number - (len(engines) - 1) / 2) * width for i, _ in there]
            heights = [m.latency.fps for _, m in there]
            panel.bar(places, heights, width, label=engine, color=colours[number % len(colours)])
        panel.set_xticks(range(len(sizes)), [f"{size} px" for size in sizes])
        panel.set_yscale("log")
        panel.grid(axis="y", which="both", alpha=0.3)
        panel.set_axisbelow(True)
        panel.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize=10)
    panels[0][0].set_ylabel("pictures per second at the median (logarithmic)")
    handles = {label: handle for panel in panels[0] for handle, label in zip(*panel.get_legend_handles_labels(),
                                                                             strict=True)}  # fmt: skip
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    figure.suptitle(f"{network}, batch 1, network only: {short_machine_line(run).partition(';')[0]}", fontsize=9)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=100, format="png", metadata={"Software": None})
    pyplot.close(figure)
