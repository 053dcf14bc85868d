"""A calibration that a build was given instead of making its own: checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.export.rewrites import fitting, plain

if TYPE_CHECKING:
    from harmonyrt.calibration.calibrated import Calibration

CALIBRATION_SIZE = (256, 256)
"""Where builds calibrate; tensor names carry what is found over to all other sizes."""


@dataclass(frozen=True)
class GivenCalibration:
    """What `harmonyrt calibrate` wrote earlier.

    Attributes:
        found: ranges and decisions.
        sha256: of its file.
    """

    found: Calibration
    sha256: str


def calibration_rewrites(names: Sequence[str]) -> tuple[str, ...]:
    """Of the rewrites that a build uses, those of the graph that it calibrates: they decide the names of tensors."""
    return fitting(plain(names), CALIBRATION_SIZE, precision="int8")


def given_calibration(path: Path, checkpoint_sha256: str, rewrites: Sequence[str]) -> GivenCalibration:
    """Read a calibration for a build.

    Args:
        path: the `calibration.json` of `harmonyrt calibrate`.
        checkpoint_sha256: of the weights that are built.
        rewrites: of the build.

    Raises:
        HarmonyError: not a calibration, or one for other weights or other rewrites.
    """
    from harmonyrt.calibration.calibrated import Calibration

    found = Calibration.load(path)
    if found.checkpoint_sha256 != checkpoint_sha256:
        raise HarmonyError(
            f"{path} belongs to other weights: found sha256 {found.checkpoint_sha256[:12] or 'none'}…, need"
            f" {checkpoint_sha256[:12]}…; run harmonyrt calibrate with this checkpoint, or leave --calibration out"
        )
    if found.rewrites != calibration_rewrites(rewrites):
        raise HarmonyError(
            f"{path} belongs to graphs with the rewrites {', '.join(found.rewrites) or 'none'}; give those with"
            " --rewrites, or leave --calibration out"
        )
    return GivenCalibration(found, sha256_of(path))
