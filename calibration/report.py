"""A calibration as a table and a plot."""

from __future__ import annotations

from pathlib import Path

from harmonyrt.calibration.calibrated import Calibration, LayerReport
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole

_COLOURS = ("#d87c3b", "#8f8fae", "#3b7dd8")
"""Of layers that are INT8 in no Q/DQ style, in some, in all."""


def table(calibration: Calibration) -> str:
    """One line per layer: its share of the work, its cost on its own, and its precision."""
    width = max(len(layer.name) for layer in calibration.layers)
    lines = [f"{'layer':{width}}  {'work':>6}  {'alone':>9}  result"]
    for layer in calibration.layers:
        alone = "" if layer.alone_db is None else f"{layer.alone_db:6.1f} dB"
        result = _result(layer)
        lines.append(f"{layer.name:{width}}  {layer.share:6.1%}  {alone:>9}  {result}")
    methods = ", ".join(f"{name} {db:.1f} dB" for name, db in calibration.methods_db.items())
    lines.append(f"ranges by {calibration.method} (worst case with all layers: {methods})")
    lines.append(
        f"INT8 against FP32, blended: worst {calibration.worst_db:.1f} dB, mean {calibration.mean_db:.1f} dB over"
        f" {calibration.judged} composites; ranges from {calibration.composites} others"
    )
    return "\n".join(lines)


def _result(layer: LayerReport) -> str:
    if layer.int8 and layer.int8_signed:
        return "int8"
    where = "int8, but fp32 for tensorrt" if layer.int8 else "fp32, but int8 for tensorrt"
    return f"{where if layer.int8 or layer.int8_signed else 'fp32'}: {layer.reason}"


def plot(calibration: Calibration, path: Path) -> None:
    """Draw what each layer costs on its own, in network order.

    Args:
        calibration: made with ``sensitivity=True``.
        path: .png or .svg.

    Raises:
        HarmonyError: matplotlib is missing, or the file cannot be written.
    """
    require("matplotlib", "calibration", "the sensitivity plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = [layer for layer in calibration.layers if layer.alone_db is not None]
    figure = Figure(figsize=(9, 0.32 * len(layers) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = [_COLOURS[layer.int8 + layer.int8_signed] for layer in layers]
    axes.barh([layer.name for layer in layers], [layer.alone_db or 0.0 for layer in layers], color=colours)
    axes.axvline(calibration.mean_db, color="black", linestyle="--", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("mean PSNR of the blended image with only this layer in INT8, dB (lower costs more)")
    axes.set_title(
        "blue: INT8, grey: in some styles only, orange: stays FP32,"
        f" dashed: all INT8 layers together ({calibration.mean_db:.1f} dB)",
        fontsize=10,
    )
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=120)
