"""`harmonyrt calibrate`: INT8 ranges, and what each layer costs in picture quality."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Method(str, Enum):
    """How a range is chosen."""

    minmax = "minmax"
    percentile = "percentile"
    entropy = "entropy"
    mse = "mse"
    best = "best"


def calibrate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("calibration-run"),
    checkpoint: Annotated[Path | None, typer.Option(help="Weights. Default: the shipped weights.")] = None,
    network_output: Annotated[
        str | None, typer.Option(help="sigmoid or residual, if the weights' file does not say what it predicts.")
    ] = None,
    patch_shrinkage: Annotated[float | None, typer.Option(help="Of the weights, if their file does not say.")] = None,
    change_shrinkage: Annotated[float | None, typer.Option(help="Of the weights, if their file does not say.")] = None,
    composites: Annotated[
        Path | None, typer.Option(help="Folder of composites to learn from. Default: the shipped pictures.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of their masks, with the same names.")] = None,
    count: Annotated[
        int, typer.Option(min=4, help="How many composites at most; every third one is held out to measure the result.")
    ] = 24,
    size: Annotated[int, typer.Option(min=16, help="Side at which the network is calibrated.")] = 256,
    method: Annotated[
        Method, typer.Option(help="How to choose the range that 8 bits cover; best tries all methods.")
    ] = Method.mse,
    least_db: Annotated[
        float, typer.Option(help="Layers return to FP32 until no composite is below this PSNR against FP32.")
    ] = 46.0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Find INT8 ranges on real composites and measure what each layer costs.

    Writes calibration.json, which harmonyrt build --calibration takes, and sensitivity.png.
    """
    from harmonyrt.cli.console import print_json
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams

    if (composites is None) != (masks is None):
        raise HarmonyError(
            "composites need masks and masks need composites; pass both --composites and --masks, or neither"
        )
    for package in ("torch", "onnx", "matplotlib"):
        require(package, "calibration", "harmonyrt calibrate")
    from harmonyrt.calibration.calibrate import CALIBRATION_FILE, PLOT_FILE
    from harmonyrt.calibration.quantize import CalibrationOptions
    from harmonyrt.calibration.report import table
    from harmonyrt.export.phnet.calibrate import calibrate_checkpoint

    if not as_json:
        streams().results_are_files()
    pairs = None if composites is None or masks is None else _pairs(composites, masks)
    said = {"output": network_output, "patch_shrinkage": patch_shrinkage, "change_shrinkage": change_shrinkage}
    with _phases() as progress:
        options = CalibrationOptions(method.value, least_db, sensitivity=True, threads=threads, progress=progress)
        found = calibrate_checkpoint(checkpoint, size, output, options, said, pairs, count)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print(table(found))
    say(f"wrote {output / CALIBRATION_FILE} and {output / PLOT_FILE}")
    say(f"use it: harmonyrt build phnet --precisions int8 --calibration {output / CALIBRATION_FILE}")


@contextlib.contextmanager
def _phases() -> Iterator[Callable[[str, float | None], None]]:
    """A progress bar for each phase of the work."""
    from harmonyrt.common.progress import growing_progress, say

    with contextlib.ExitStack() as stack:
        shown, show = "", None

        def progress(doing: str, share: float | None) -> None:
            nonlocal shown, show
            if share is None:  # a step without an end in sight
                say(doing)
                return
            if doing != shown or show is None:
                stack.close()
                shown, show = doing, stack.enter_context(growing_progress(doing))
            show(round(100 * share), 100)

        yield progress


def _pairs(composites: Path, masks: Path) -> list[tuple[Path, Path]]:
    from harmonyrt.common.progress import say
    from harmonyrt.runtime.images.pairs import paired

    pairing = paired(composites, masks)
    for line in [*(f"note: {sentence}" for _, sentence in pairing.failed), *pairing.remarks()]:
        say(line)
    return [(Path(pair.composite), Path(pair.mask)) for pair in pairing.pairs]
