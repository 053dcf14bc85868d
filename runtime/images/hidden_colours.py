"""What is transparent stays without effect: the network sees a composite with alpha over a flat backdrop.

Editors leave any colour under transparent pixels (black, white, what was there before), and nobody sees it. The
backdrop is the mean colour of the background that is visible, so that it tells the network nothing new. The twin is
runtime/cpp/src/hidden_colours.cpp; docs/full_resolution.md has the arithmetic, which is in integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.images.foreground import HALF

_ROWS_AT_ONCE = 256
NO_BACKGROUND = 20  # times as much visible foreground as background: what remains is the cut-out's own soft border


@dataclass(frozen=True)
class Seen:
    """A composite as it is seen.

    Attributes:
        rgb: height x width x 3, uint8 or uint16: over the backdrop.
        own: the same in the picture's own space; `rgb` itself where that is sRGB.
        mask: height x width, uint8: the mask, and 0 where nothing is visible: there the bytes stay.
        has_background: whether any background is visible; True wherever a part of it was chosen.
    """

    rgb: np.ndarray
    own: np.ndarray
    mask: np.ndarray
    has_background: bool


def seen(
    rgb: np.ndarray, own: np.ndarray, mask: np.ndarray, alpha: np.ndarray, match: np.ndarray | None = None
) -> Seen:
    """Put a composite with alpha over its backdrop.

    Args:
        rgb: height x width x 3, uint8 or uint16, sRGB.
        own: the same in the picture's own space, or `rgb` itself.
        mask: height x width, uint8, 255 = foreground.
        alpha: height x width, uint8, 255 = opaque.
        match: height x width, uint8: the part of the background that counts; the rest is hidden as if it were
            transparent. None: all of it counts.
    """
    weight, shown = 255 - mask, alpha
    if match is not None:
        weight, shown = _times(weight, match), _times(alpha, np.maximum(mask, match))
    elif not (weight.astype(bool) & alpha.astype(bool)).any():
        weight = mask
    over = _over(rgb, shown, _mean(rgb, weight, alpha))
    foreground, background = (int(alpha[where].sum(dtype=np.uint64)) for where in (mask > HALF, mask == 0))
    return Seen(
        rgb=over,
        own=over if own is rgb else _over(own, shown, _mean(own, weight, alpha)),
        mask=np.where(alpha > 0, mask, np.uint8(0)),
        has_background=match is not None or background * NO_BACKGROUND >= foreground,
    )


def _times(levels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The product of two arrays of levels, 255 = 1, rounded."""
    product = np.multiply(levels, others, dtype=np.uint16)
    product += np.uint16(127)
    return (product // np.uint16(255)).astype(np.uint8)


def _mean(picture: np.ndarray, weight: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Mean colour, weighted by weight * alpha, rounded; black without any weight."""
    total, sums = 0, np.zeros(3, np.uint64)
    for start in range(0, len(picture), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        w = np.multiply(weight[rows], alpha[rows], dtype=np.uint16)
        total += int(w.sum(dtype=np.uint64))
        for channel in range(3):
            sums[channel] += np.multiply(picture[rows, :, channel], w, dtype=np.uint64).sum()
    return ((sums + np.uint64(total // 2)) // np.uint64(max(total, 1))).astype(picture.dtype)


def _over(picture: np.ndarray, alpha: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    result = np.empty_like(picture)
    for start in range(0, len(picture), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        a = alpha[rows, :, None].astype(np.uint32)
        result[rows] = (picture[rows] * a + backdrop.astype(np.uint32) * (255 - a) + 127) // 255
    return result
