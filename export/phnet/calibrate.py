"""`harmonyrt calibrate`: checkpoint and composites -> a calibration file, with the graph that builds calibrate too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common.files import sha256_of
from harmonyrt.export.build.recipe import parse_size
from harmonyrt.export.phnet.recipe import find_checkpoint
from harmonyrt.export.phnet.session import PHNetSession
from harmonyrt.export.rewrites import DEFAULT, fitting

if TYPE_CHECKING:
    from harmonyrt.calibration.calibrated import Calibration
    from harmonyrt.calibration.observe import Feed
    from harmonyrt.calibration.quantize import CalibrationOptions


def calibrate_checkpoint(
    checkpoint: str | Path | None,
    size: int,
    output: Path,
    options: CalibrationOptions,
    meaning: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[Path, Path]] | None = None,
    count: int = 24,
) -> Calibration:
    """Export a PHNet, calibrate it, and write ``calibration.json`` and the sensitivity plot.

    Args:
        checkpoint: weights; None for the shipped ones.
        size: side in pixels at which the network is calibrated.
        output: folder for the two files.
        options: how to calibrate; its `threads` and `progress` serve the export too.
        meaning: what the caller says about the weights, see :class:`harmonyrt.export.phnet.recipe.PHNetRecipe`.
        pairs: (composite, mask) files; None for the shipped images.
        count: composites to use at most.

    Raises:
        HarmonyError: a size that cannot be built, a checkpoint or an image that cannot be used, or what
            :func:`harmonyrt.calibration.calibrate.calibrate` raises.
    """
    from harmonyrt.calibration.calibrate import calibrate

    parse_size(str(size))
    feeds = _feeds(pairs, (size, size), count)
    weights = find_checkpoint(checkpoint)
    rewrites = fitting(DEFAULT, (size, size), precision="int8")
    session = PHNetSession(weights, options.threads, options.progress, meaning)
    graph = session.graph((size, size), rewrites)
    return calibrate(graph, feeds, output, options, sha256_of(weights), rewrites)


def _feeds(pairs: Sequence[tuple[Path, Path]] | None, size: tuple[int, int], count: int) -> list[Feed]:
    if pairs is None:
        from harmonyrt.export.build.composites import composites

        return [{"image": one.image, "mask": one.mask} for one in composites(size, count)]
    from harmonyrt.calibration.feeds import feeds_from_files

    return feeds_from_files(pairs[:count], size)
