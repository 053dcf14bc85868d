"""Distances between pictures, as image harmonization reports them: MSE, fMSE, bMSE, PSNR, fPSNR, foreground-ratio bins.

NumPy only. Pictures are (H,W,3) arrays on the 0-255 scale (uint8 or float), masks (H,W) with foreground > 0.5 of their
own scale; a mask counts as binary here, whatever its edges. Two PSNR conventions are in use:

* ``peak=255``: the field's usual one, and ours.
* ``peak=None``: PHNet's released metric, whose peak is the largest value of the real picture (docs/phnet.md, "Data and
  training"). It is never higher than the usual one; the two cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmonyrt.runtime.images.foreground import binary, foreground_ratio

__all__ = [
    "MSE_EPS",
    "RATIO_EDGES",
    "Score",
    "average",
    "bin_name",
    "binary",
    "bmse",
    "by_ratio",
    "fmse",
    "foreground_ratio",
    "fpsnr",
    "mse",
    "psnr",
    "score",
]

MSE_EPS = 1e-6
"""Joins the MSE inside the PSNR and the pixel count inside the fMSE, as released: PSNR ends at 108 dB."""
RATIO_EDGES = (0.05, 0.15)
"""Foreground-ratio bins of the papers: 0-5 %, 5-15 %, 15-100 %."""


def _squared_error(picture: ArrayLike, real: ArrayLike) -> NDArray[np.float64]:
    picture, real = np.asarray(picture, np.float64), np.asarray(real, np.float64)
    if picture.shape != real.shape:
        raise ValueError(f"pictures differ in shape: {picture.shape} and {real.shape}")
    return (picture - real) ** 2


def mse(picture: ArrayLike, real: ArrayLike) -> float:
    """Mean squared error over pixels and channels."""
    return float(_squared_error(picture, real).mean())


def fmse(picture: ArrayLike, real: ArrayLike, mask: ArrayLike) -> float:
    """Foreground MSE: squared error under the mask over 3 x its area; 0 for an empty mask."""
    chosen = binary(mask)
    error = _squared_error(picture, real)
    return float(error[chosen].sum() / (error.shape[-1] * chosen.sum() + MSE_EPS))


def bmse(picture: ArrayLike, real: ArrayLike, mask: ArrayLike) -> float:
    """Background MSE: what :func:`fmse` is, outside the mask. A blended picture has 0."""
    return fmse(picture, real, ~binary(mask))


def _decibels(error: float, real: ArrayLike, peak: float | None) -> float:
    peak = float(np.max(real)) if peak is None else peak
    return float(10 * np.log10(max(peak, MSE_EPS) ** 2 / (error + MSE_EPS)))


def psnr(picture: ArrayLike, real: ArrayLike, peak: float | None = 255.0) -> float:
    """Peak signal-to-noise ratio in dB; ``peak=None`` is PHNet's convention (see the module's docstring)."""
    return _decibels(mse(picture, real), real, peak)


def fpsnr(picture: ArrayLike, real: ArrayLike, mask: ArrayLike, peak: float | None = 255.0) -> float:
    """PSNR from the foreground MSE, in dB."""
    return _decibels(fmse(picture, real, mask), real, peak)


@dataclass(frozen=True)
class Score:
    """Distances of one picture from the real one; PSNR with peak 255."""

    ratio: float
    mse: float
    fmse: float
    psnr: float
    fpsnr: float


def score(picture: ArrayLike, real: ArrayLike, mask: ArrayLike, peak: float | None = 255.0) -> Score:
    """All distances of one picture at once."""
    return Score(
        ratio=foreground_ratio(mask),
        mse=mse(picture, real),
        fmse=fmse(picture, real, mask),
        psnr=psnr(picture, real, peak),
        fpsnr=fpsnr(picture, real, mask, peak),
    )


def average(scores: Iterable[Score]) -> dict[str, float]:
    """Means of per-picture values (the papers' way), with ``pictures``, their count."""
    rows = [asdict(s) for s in scores]
    if not rows:
        return {"pictures": 0}
    return {"pictures": len(rows)} | {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def bin_name(ratio: float, edges: Sequence[float] = RATIO_EDGES) -> str:
    """Name of a foreground ratio's bin, for example ``"5-15%"``; a ratio on an edge belongs to the upper bin."""
    bounds = [0.0, *edges, 1.0]
    place = int(np.searchsorted(np.asarray(edges), ratio, side="right"))
    return f"{bounds[place] * 100:g}-{bounds[place + 1] * 100:g}%"


def by_ratio(scores: Iterable[Score], edges: Sequence[float] = RATIO_EDGES) -> dict[str, dict[str, float]]:
    """:func:`average` within each bin of the foreground ratio, smallest first; empty bins are there with 0 pictures."""
    scores = list(scores)
    middles = [(low + high) / 2 for low, high in zip([0.0, *edges], [*edges, 1.0], strict=True)]
    names = [bin_name(middle, edges) for middle in middles]
    return {name: average(s for s in scores if bin_name(s.ratio, edges) == name) for name in names}
