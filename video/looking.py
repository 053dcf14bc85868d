"""A frame as the network sees it, and whether it is of the same scene as the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonyrt.runtime.fit import Fitted
from harmonyrt.runtime.resample import product
from harmonyrt.video.av_library import library
from harmonyrt.video.colours import ColourSpace
from harmonyrt.video.pixel_formats import Layout, layout_of

# Chosen by benchmarks/video.py: cuts between photos, and pans, zooms, hands and fades that are none; docs/video.md.
CUT_DIFFERENCE = 0.06  # mean difference of thumbnails, of 1, below which nothing is a cut
CUT_HISTOGRAM = 0.15  # share of luma that has to lie elsewhere in the histogram
CUT_JUMP = 2.0  # times the difference that the frames before had
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


def look(frame: Any, layout: Layout, coverage: np.ndarray, space: ColourSpace, size: tuple[int, int]) -> Look:
    """Fit a frame to the network's size: each plane by itself, and RGB of that, which is the same and less work.

    FFmpeg's scaler does it, whose bilinear filter is the runtime's (a triangle, widened when it shrinks), within a
    fraction of a level; tests/video/test_looking.py holds it to that.

    Args:
        frame: in a format that can be worked on.
        layout: of the frame.
        coverage: the mask at the network's size, float32 in [0, 1].
        space: of the planes.
        size: height and width that the network takes.
    """
    name, bits = _small_format(layout)
    small = frame.reformat(size[1], size[0], name, interpolation="BILINEAR", threads=1)
    step = np.float32(2.0 ** (layout.bits - bits))
    planes = [plane * step for plane in layout_of(name).planes(small)]
    stack = np.stack(planes, -1) - space.offset.astype(np.float32)
    rgb = np.empty((size[0] * size[1], 3), np.float32)
    product(stack.reshape(-1, len(planes)), (space.to_rgb / 255).astype(np.float32), rgb)
    own = np.clip(np.ascontiguousarray(rgb.T), 0, 1).reshape(3, *size)
    image = space.seen(own)
    luma = own[1]  # green is most of it
    histogram = np.bincount((luma * (_BINS - 1e-3)).astype(np.intp).ravel(), minlength=_BINS) / luma.size
    return Look(own, Fitted(image, coverage, coverage), _thumbnail(image, coverage), histogram)


def _small_format(layout: Layout) -> tuple[str, int]:
    """The format without subsampling that a frame is shrunk in, so that no range is converted, and its bits."""
    deep = "16le" if layout.bits > 8 else ""
    name = {"yuv": "yuvj444p" if layout.full_by_name else "yuv444p", "rgb": "gbrp", "grey": "gray"}[layout.kind]
    return name + deep, 16 if deep else 8


def fit_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask, height x width uint8, at the network's size: float32 in [0, 1]."""
    frame = library().VideoFrame.from_ndarray(mask, format="gray")
    small = frame.reformat(size[1], size[0], "gray", interpolation="BILINEAR", threads=1)
    return layout_of("gray").planes(small)[0] * np.float32(1 / 255)


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


def _thumbnail(image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    planes = np.concatenate([image, coverage[None]])
    _, height, width = planes.shape
    rows, columns = max(1, height // _BLOCK), max(1, width // _BLOCK)
    high, wide = height // rows, width // columns
    cut = planes[:, : rows * high, : columns * wide].reshape(4, rows, high, columns, wide)
    return cut.mean((2, 4), dtype=np.float32)
