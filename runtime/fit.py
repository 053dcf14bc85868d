"""Fitting a composite and its mask to the size that an engine takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.manifest import Manifest
from harmonyrt.runtime.pools import Pool
from harmonyrt.runtime.resample import resample

_THRESHOLD = 0.5
_SMALLEST_SIDE = 32
_LONGEST = 4  # times the working size: what a strip of a picture is stretched to at most


@dataclass(frozen=True)
class Fitted:
    """A composite at engine size.

    Attributes:
        image: 3 x height x width, float32 in [0, 1].
        mask: height x width, float32 in [0, 1]: coverage, before any threshold.
        network_mask: height x width, float32: what the network gets, 0 and 1 where it was trained on binary masks.
    """

    image: np.ndarray
    mask: np.ndarray
    network_mask: np.ndarray


def engine_size(manifest: Manifest, height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture goes through the network.

    Engines of one size take every picture at that size, sides squashed as the papers do it. Dynamic engines keep the
    aspect ratio: an area of about `working_size` squared, sides rounded to the engine's multiple.
    """
    if manifest.size is not None:
        return manifest.size
    multiple, working = manifest.size_multiple, manifest.working_size
    aspect = math.sqrt(height / width)

    def rounded(side: float) -> int:
        side = min(max(side, _SMALLEST_SIDE), _LONGEST * working)
        return max(1, math.floor(side / multiple + 0.5)) * multiple

    return rounded(working * aspect), rounded(working / aspect)


def fit(
    composite: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    binary_mask: bool,
    pool: Pool = None,
) -> Fitted:
    """Resize a composite and its mask to engine size, with antialias.

    Args:
        composite: height x width x 3, uint8 or uint16.
        mask: height x width, uint8, 255 = foreground; not empty.
        size: (height, width) of the engine.
        binary_mask: threshold the network's mask at one half.
        pool: threads to share the work over.
    """
    image = fit_image(composite, size, pool)
    coverage = resample(mask[..., None], *size, pool)[..., 0]
    coverage *= np.float32(1 / 255)
    np.clip(coverage, 0, 1, out=coverage)
    return Fitted(image, coverage, binary(coverage) if binary_mask else coverage)


def fit_image(composite: np.ndarray, size: tuple[int, int], pool: Pool = None) -> np.ndarray:
    """Resize height x width x 3, uint8 or uint16, to 3 x engine height x engine width, float32 in [0, 1]."""
    unit = np.float32(1 / np.iinfo(composite.dtype).max)
    return np.multiply(resample(composite, *size, pool).transpose(2, 0, 1), unit, order="C")


def binary(coverage: np.ndarray) -> np.ndarray:
    """Threshold at one half, without losing a foreground that is too small for that.

    A foreground that nowhere covers half a pixel is kept as its strongest pixels (at least half the maximum). And since
    the networks' mask pyramid keeps only every fourth row and column, counted from 0, a foreground that has no pixel
    there is spread over the 4x4 cells that it touches, so that it reaches every level.
    """
    strongest = float(coverage.max())
    mask = (coverage >= (_THRESHOLD if strongest >= _THRESHOLD else strongest / 2)).astype(np.float32)
    if not mask[::4, ::4].any():
        rows, columns = np.nonzero(mask)
        for row, column in set(zip((rows // 4 * 4).tolist(), (columns // 4 * 4).tolist(), strict=True)):
            mask[row : row + 4, column : column + 4] = 1
    return mask
