"""The calibration job: graph and composites in, `calibration.json` and `sensitivity.png` out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from harmonyrt.calibration.calibrated import Calibration
from harmonyrt.calibration.observe import Feed
from harmonyrt.calibration.quantize import CalibrationOptions, calibrate_graph
from harmonyrt.calibration.report import plot
from harmonyrt.common.errors import require
from harmonyrt.common.files import make_folder

CALIBRATION_FILE = "calibration.json"
PLOT_FILE = "sensitivity.png"


def calibrate(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    output: Path,
    options: CalibrationOptions,
    checkpoint_sha256: str,
    rewrites: Sequence[str],
) -> Calibration:
    """Calibrate a graph and write the result.

    Args:
        model: FP32 graph.
        feeds: real composites in the size of the graph, see :func:`harmonyrt.calibration.quantize.calibrate_graph`.
        output: folder for the two files; created if missing.
        options: the plot needs ``sensitivity=True``.
        checkpoint_sha256: of the graph's weights; a build with other weights refuses the file.
        rewrites: of the graph; a build with others refuses the file.

    Returns:
        The content of `calibration.json`.

    Raises:
        HarmonyError: the folder cannot be written, matplotlib is missing, or what :func:`calibrate_graph` raises.
    """
    if options.sensitivity:
        require("matplotlib", "calibration", "the sensitivity plot")
    make_folder(output)
    calibration = calibrate_graph(model, feeds, options)
    calibration = replace(calibration, checkpoint_sha256=checkpoint_sha256, rewrites=tuple(rewrites))
    calibration.save(output / CALIBRATION_FILE)
    if options.sensitivity:
        plot(calibration, output / PLOT_FILE)
    return calibration
