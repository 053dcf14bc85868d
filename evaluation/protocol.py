"""Our protocol: every composite of a split through a harmonizer, at one size, averaged over pictures.

PHNet's way (docs/phnet.md) through the runtime's face: pictures resized bilinearly to a square, masks thresholded at
0.5, the background bit-identical, metrics on the 0-255 scale, means of per-picture values, bins by foreground ratio.
The papers' own paths are in :mod:`harmonyrt.evaluation.paper_protocols`; docs/evaluation.md has them all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.metrics import Peak, Score, average, binary, by_ratio, score
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.pictures import read_picture_file

WORSE_BY_DB = 1.0
"""A picture counts as made worse when its PSNR falls by more than this."""


class Harmonizes(Protocol):
    """What is evaluated; :class:`harmonyrt.runtime.Harmonizer` is one."""

    def harmonize(self, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(H,W,3) uint8 and (H,W) uint8 0/255 -> (H,W,3) uint8."""
        ...


@dataclass(frozen=True)
class Case:
    """One composite, its result and the truth, at the size at which they are compared.

    Attributes:
        composite: (H,W,3), 0-255, uint8 or float.
        result: likewise.
        real: likewise.
        mask: (H,W) uint8 coverage, 255 = foreground; values between where the protocol keeps soft edges.
    """

    composite: np.ndarray
    result: np.ndarray
    real: np.ndarray
    mask: np.ndarray

    def scores(self, peak: Peak = 255.0, with_ssim: bool = False) -> tuple[Score, Score]:
        """The scores of the composite and of the result."""
        before, after = (score(one, self.real, self.mask, peak, with_ssim) for one in (self.composite, self.result))
        return before, after


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
    peak: Peak = 255.0,
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
        scores = score_pair(harmonizer, pair, size, peak)
        before.append(scores[0])
        after.append(scores[1])
        on_picture(pair.name)
    return report(size, before, after)


def score_pair(harmonizer: Harmonizes, pair: Pair, size: int | None, peak: Peak) -> tuple[Score, Score]:
    """The scores of a composite and of its result. Arguments and errors as :func:`evaluate`."""
    return harmonized_case(harmonizer.harmonize, pair, size).scores(peak)


def harmonized_case(harmonize: Callable[[np.ndarray, np.ndarray], np.ndarray], pair: Pair, size: int | None) -> Case:
    """Run one pair. Errors as :func:`evaluate`; `harmonize` takes and gives what :class:`Harmonizes` does."""
    composite, real = read_picture(pair.composite, size), read_picture(pair.real, size)
    mask = resized(read_mask(pair.mask), size)
    if composite.shape != real.shape or composite.shape[:2] != mask.shape:
        raise HarmonyError(f"{pair.composite}: composite, mask and real photo differ in size; give a --size")
    return Case(composite, harmonize(composite, hard(mask)), real, mask)


def report(size: int | None, before: list[Score], after: list[Score]) -> Report:
    """Averages of what :func:`score_pair` gave for each pair.

    Raises:
        HarmonyError: there are none.
    """
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


def read_picture(path: Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """(H,W,3) uint8 sRGB, upright, as every other verb reads it; resized to (height, width) or a square."""
    return resized(read_picture_file(path).rgb, size)


def read_mask(path: Path) -> np.ndarray:
    """(H,W) uint8 coverage, as every other verb reads it."""
    mask = read_mask_file(path)
    for kind, sentences in ((HarmonyNote, mask.notes), (HarmonyWarning, mask.warnings)):
        for sentence in sentences:
            warnings.warn(sentence, kind, stacklevel=3)
    return mask.values


def hard(mask: np.ndarray) -> np.ndarray:
    """Coverage cut at one half: (H,W) uint8, 0 and 255."""
    return np.where(binary(mask), np.uint8(255), np.uint8(0))


def resized(pixels: np.ndarray, size: int | tuple[int, int] | None) -> np.ndarray:
    """Pillow's bilinear filter, which antialiases; to a square, or to (height, width); None changes nothing."""
    if size is None:
        return pixels
    height, width = (size, size) if isinstance(size, int) else size
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
