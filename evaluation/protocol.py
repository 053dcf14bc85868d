"""The papers' protocol: every composite of a split through a harmonizer, at one size, averaged over pictures.

PHNet's way (spec "Data and training"): pictures resized bilinearly to a square, masks thresholded at 0.5, the
background pasted back, metrics on the 0-255 scale, means of per-picture values, bins by foreground ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.metrics import Score, average, by_ratio, score

WORSE_BY_DB = 1.0
"""A picture counts as made worse when its PSNR falls by more than this."""


class Harmonizes(Protocol):
    """What is evaluated; :class:`harmonyrt.runtime.Harmonizer` is one."""

    def harmonize(self, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(H,W,3) uint8 and (H,W) uint8 0/255 -> (H,W,3) uint8."""
        ...


@dataclass(frozen=True)
class Report:
    """Averages over a split.

    Attributes:
        size: side of the square that pictures were resized to, or None for their own size.
        composite: averages of the composites themselves: what doing nothing scores.
        harmonized: averages of the results.
        by_ratio: averages of the results in the papers' bins of the foreground ratio.
        fmse_ratio: foreground MSE of the results over that of the composites.
        psnr_gain: dB.
        worse: share of pictures whose PSNR fell by more than :data:`WORSE_BY_DB`.
    """

    size: int | None
    composite: dict[str, float]
    harmonized: dict[str, float]
    by_ratio: dict[str, dict[str, float]]
    fmse_ratio: float
    psnr_gain: float
    worse: float


def evaluate(
    harmonizer: Harmonizes,
    pairs: Iterable[Pair],
    size: int | None = 256,
    peak: float | None = 255.0,
    on_picture: Callable[[str], Any] = lambda name: None,
) -> Report:
    """Run a split.

    Args:
        harmonizer: what to evaluate.
        pairs: for example of :func:`harmonyrt.evaluation.iharmony4.read_split`.
        size: side in pixels that pictures are resized to, aspect ratio not kept; None keeps each picture's size.
        peak: PSNR's peak; None for PHNet's convention, the largest value of the real picture.
        on_picture: called with each name when it is done.

    Raises:
        HarmonyError: a picture cannot be read, or there are none.
    """
    before: list[Score] = []
    after: list[Score] = []
    for pair in pairs:
        composite = _read(pair.composite, "RGB", size)
        mask = np.where(_read(pair.mask, "L", size) > 127, np.uint8(255), np.uint8(0))
        real = _read(pair.real, "RGB", size)
        if composite.shape != real.shape or composite.shape[:2] != mask.shape:
            raise HarmonyError(f"{pair.composite}: composite, mask and real photo differ in size; give a --size")
        before.append(score(composite, real, mask, peak))
        after.append(score(harmonizer.harmonize(composite, mask), real, mask, peak))
        on_picture(pair.name)
    if not after:
        raise HarmonyError("there is no picture to evaluate; choose another split")
    composite_mean, harmonized_mean = average(before), average(after)
    falls = [b.psnr - a.psnr for b, a in zip(before, after, strict=True)]
    return Report(
        size=size,
        composite=composite_mean,
        harmonized=harmonized_mean,
        by_ratio=by_ratio(after),
        fmse_ratio=harmonized_mean["fmse"] / max(composite_mean["fmse"], 1e-9),
        psnr_gain=harmonized_mean["psnr"] - composite_mean["psnr"],
        worse=float(np.mean([fall > WORSE_BY_DB for fall in falls])),
    )


def _read(path: Path, mode: str, size: int | None) -> np.ndarray:
    try:
        with Image.open(path) as file:
            picture = file.convert(mode)
    except (OSError, Image.DecompressionBombError) as error:
        raise HarmonyError(f"{path} cannot be read as a picture ({error}); replace it") from None
    if size is not None:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)
