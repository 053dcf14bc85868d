"""A frame as the network sees it, and whether it is of the same scene as the one before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.fit import Fitted
from harmonyrt.runtime.resample import Pool, resample
from harmonyrt.video.colours import ColourSpace

# Chosen by benchmarks/video_steadiness.py on cuts, pans, zooms and flashes made of photos; docs/video.md has the table.
CUT_DIFFERENCE = 0.06  # mean difference of thumbnails, of 1, below which nothing is a cut
CUT_HISTOGRAM = 0.25  # share of luma that has to lie elsewhere in the histogram
CUT_JUMP = 3.0  # times the difference that the frames before had
_BLOCK = 8  # pixels of the network's picture in one of a thumbnail
_BINS = 32


@dataclass(frozen=True)
class Look:
    """One frame at the network's size.

    Attributes:
        own: 3 x height x width float32 in [0, 1]: RGB in the clip's primaries.
        fitted: the same in sRGB, with the mask.
        thumbnail: means of blocks of the composite and the mask, 4 x rows x columns.
        histogram: of luma, which sums to 1.
    """

    own: np.ndarray
    fitted: Fitted
    thumbnail: np.ndarray
    histogram: np.ndarray


def look(
    planes: list[np.ndarray], coverage: np.ndarray, space: ColourSpace, size: tuple[int, int], pool: Pool = None
) -> Look:
    """Fit a frame to the network's size: each plane by itself, and RGB of that, which is the same and less work.

    Args:
        planes: of colours, as stored.
        coverage: the mask at the network's size, float32 in [0, 1].
        space: of the planes.
        size: height and width that the network takes.
        pool: threads to share the work over.
    """
    values = [resample(_native(plane)[..., None], *size, pool)[..., 0] for plane in planes]
    stack = np.stack(values, -1) - space.offset.astype(np.float32)
    rgb = stack.reshape(-1, len(planes)) @ (space.to_rgb / 255).astype(np.float32)
    own = np.ascontiguousarray(np.clip(rgb, 0, 1).reshape(*size, 3).transpose(2, 0, 1))
    image = space.seen(own)
    luma = own[1]  # green is most of it
    histogram = np.bincount((luma * (_BINS - 1e-3)).astype(np.intp).ravel(), minlength=_BINS) / luma.size
    return Look(own, Fitted(image, coverage, coverage), _thumbnail(image, coverage), histogram)


def fit_mask(mask: np.ndarray, size: tuple[int, int], pool: Pool = None) -> np.ndarray:
    """A mask at the network's size, float32 in [0, 1]."""
    return np.clip(resample(mask[..., None], *size, pool)[..., 0] * np.float32(1 / 255), 0, 1)


def is_cut(before: Look, now: Look, usual: float) -> bool:
    """Whether a new scene begins: much differs, in place and in the histogram, and more than motion made so far.

    Args:
        before: the last frame.
        now: this frame.
        usual: mean difference of the frames before.
    """
    difference = float(np.abs(before.thumbnail[:3] - now.thumbnail[:3]).mean())
    moved = 0.5 * float(np.abs(before.histogram - now.histogram).sum())
    return difference > max(CUT_DIFFERENCE, CUT_JUMP * usual) and moved > CUT_HISTOGRAM


def difference(before: Look, now: Look) -> float:
    """Mean difference of two frames' thumbnails, of 1."""
    return float(np.abs(before.thumbnail[:3] - now.thumbnail[:3]).mean())


def largest_difference(before: Look, now: Look) -> float:
    """Largest difference of a block of the thumbnails, mask included."""
    return float(np.abs(before.thumbnail - now.thumbnail).max())


def _native(plane: np.ndarray) -> np.ndarray:
    return plane if plane.dtype.isnative else plane.astype(plane.dtype.newbyteorder("="))


def _thumbnail(image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    planes = np.concatenate([image, coverage[None]])
    _, height, width = planes.shape
    rows, columns = max(1, height // _BLOCK), max(1, width // _BLOCK)
    high, wide = height // rows, width // columns
    cut = planes[:, : rows * high, : columns * wide].reshape(4, rows, high, columns, wide)
    return cut.mean((2, 4), dtype=np.float32)
