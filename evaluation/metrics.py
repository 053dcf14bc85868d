"""Distances between pictures, as image harmonization reports them: MSE, fMSE, bMSE, PSNR, fPSNR, SSIM, ratio bins.

NumPy only (SSIM: scikit-image). Pictures are (H,W,3) arrays on the 0-255 scale (uint8 or float), masks (H,W) with
foreground > 0.5 of their own scale; except in :func:`soft_fmse` a mask counts as binary, whatever its edges.

Three peaks of the PSNR are in use (PHNet's appendix A, remark 2); their figures cannot be compared:

* ``peak=255``: the field's usual one, and ours.
* ``peak=None``: PHNet's released metric, whose peak is the largest value of the real picture (docs/phnet.md, "Data and
  training"). It is never higher than the usual one.
* ``peak="range"``: the largest minus the smallest value of the picture that is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.runtime.images.foreground import binary, foreground_ratio

__all__ = [
    "MSE_EPS",
    "RATIO_EDGES",
    "Peak",
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
    "soft_fmse",
    "ssim",
]

Peak = float | Literal["range"] | None
"""What the PSNR is measured against: see the module's docstring."""

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


def soft_fmse(picture: ArrayLike, real: ArrayLike, mask: ArrayLike, power: int = 1) -> float:
    """Foreground MSE under a mask whose edges count by their share.

    Args:
        picture: (H,W,3).
        real: likewise.
        mask: (H,W) coverage: bools, 0-255 integers or [0, 1] floats.
        power: 1 for equation 16 of PHNet's appendix A (weights of the mask), 2 for its equation 17 (squared weights, as
            in iHarmony4's own program). Both are :func:`fmse` where the mask is 0 and 1. 0 for an empty mask.
    """
    weights = _coverage(mask)
    error = _squared_error(picture, real)
    return float((error.sum(-1) * weights**power).sum() / (error.shape[-1] * weights.sum() + MSE_EPS))


def _coverage(mask: ArrayLike) -> NDArray[np.float64]:
    """(H,W) in [0, 1]."""
    mask = np.asarray(mask)
    if mask.ndim == 3:
        mask = mask[..., 0]
    whole = 255 if np.issubdtype(mask.dtype, np.integer) else 1
    return mask.astype(np.float64) / whole


def _peak(peak: Peak, picture: ArrayLike, real: ArrayLike) -> float:
    if peak == "range":
        values = np.asarray(picture, np.float64)
        return float(values.max() - values.min())
    return float(np.max(real)) if peak is None else float(peak)


def _decibels(error: float, peak: float) -> float:
    return float(10 * np.log10(max(peak, MSE_EPS) ** 2 / (error + MSE_EPS)))


def psnr(picture: ArrayLike, real: ArrayLike, peak: Peak = 255.0) -> float:
    """Peak signal-to-noise ratio in dB; for `peak` see the module's docstring."""
    return _decibels(mse(picture, real), _peak(peak, picture, real))


def fpsnr(picture: ArrayLike, real: ArrayLike, mask: ArrayLike, peak: Peak = 255.0) -> float:
    """PSNR from the foreground MSE, in dB."""
    return _decibels(fmse(picture, real, mask), _peak(peak, picture, real))


def ssim(picture: ArrayLike, real: ArrayLike) -> float:
    """Structural similarity of the whole picture as its authors define it (Wang et al. 2004), mean of the channels.

    Gaussian window of 1.5 pixels, population variance, range 255, borders left out: scikit-image's parameters for it.

    Raises:
        HarmonyError: scikit-image is missing, or a side is below 11 pixels.
    """
    similarity = require("skimage.metrics", "evaluation", "SSIM").structural_similarity
    pictures = [np.asarray(one, np.float64) for one in (picture, real)]
    if min(pictures[0].shape[:2]) < _SSIM_WINDOW:
        height, width = pictures[0].shape[:2]
        raise HarmonyError(f"SSIM needs {_SSIM_WINDOW} pixels a side, found {height}x{width}; leave SSIM out")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(similarity(*pictures, data_range=255, channel_axis=-1, **options))


_SSIM_WINDOW = 11


@dataclass(frozen=True)
class Score:
    """Distances of one picture from the real one.

    Attributes:
        ratio: share of the foreground in the picture.
        mse: over the whole picture.
        fmse: over the foreground, the mask binarized (PHNet's appendix A; equations 16 and 17 agree there).
        psnr: dB, with the peak that was asked for.
        fpsnr: dB, likewise.
        bmse: over the background.
        fmse_eq16: over the foreground, soft edges counting by their share.
        fmse_eq17: by their squared share.
        psnr_255: dB, peak 255.
        psnr_max: dB, peak: the real picture's largest value.
        psnr_range: dB, peak: the judged picture's range.
        ssim: or None where it was not asked for.
    """

    ratio: float
    mse: float
    fmse: float
    psnr: float
    fpsnr: float
    bmse: float | None = None
    fmse_eq16: float | None = None
    fmse_eq17: float | None = None
    psnr_255: float | None = None
    psnr_max: float | None = None
    psnr_range: float | None = None
    ssim: float | None = None


def score(picture: ArrayLike, real: ArrayLike, mask: ArrayLike, peak: Peak = 255.0, with_ssim: bool = False) -> Score:
    """All distances of one picture at once: what the functions above give one by one.

    Args:
        picture: (H,W,3).
        real: likewise.
        mask: (H,W), binary or soft.
        peak: of `psnr` and `fpsnr`.
        with_ssim: measure SSIM too, which takes longer than all others together.
    """
    chosen, weights = binary(mask), _coverage(mask)
    error = _squared_error(picture, real)
    channels, error = error.shape[-1], error.sum(-1)  # summed over channels: each measure below is one pass
    count = np.count_nonzero(chosen)
    whole = float(error.mean() / channels)
    inside = float(error[chosen].sum() / (channels * count + MSE_EPS))
    outside = float(error[~chosen].sum() / (channels * (chosen.size - count) + MSE_EPS))
    area = channels * weights.sum() + MSE_EPS
    decibels = {one: _decibels(whole, _peak(one, picture, real)) for one in (255.0, None, "range")}
    height = _peak(peak, picture, real)
    return Score(
        ratio=foreground_ratio(mask),
        mse=whole,
        fmse=inside,
        psnr=_decibels(whole, height),
        fpsnr=_decibels(inside, height),
        bmse=outside,
        fmse_eq16=float((error * weights).sum() / area),
        fmse_eq17=float((error * weights**2).sum() / area),
        psnr_255=decibels[255.0],
        psnr_max=decibels[None],
        psnr_range=decibels["range"],
        ssim=ssim(picture, real) if with_ssim else None,
    )


def average(scores: Iterable[Score]) -> dict[str, float]:
    """Means of per-picture values (the papers' way) with ``pictures``, their count; without what was not measured."""
    rows = [asdict(s) for s in scores]
    if not rows:
        return {"pictures": 0}
    measured = [key for key in rows[0] if all(row[key] is not None for row in rows)]
    return {"pictures": len(rows)} | {key: float(np.mean([row[key] for row in rows])) for key in measured}


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
