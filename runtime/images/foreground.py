"""Which pixels of a mask count as foreground, where each pixel must be one or the other: the same everywhere.

NumPy only. runtime/cpp counts alike; tests/vectors holds both to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF = 127
"""Levels above this count as foreground: more than half of 255."""


def binary(mask: ArrayLike) -> NDArray[np.bool_]:
    """(H,W) or (H,W,1) mask of bools, 0-255 integers or [0, 1] floats -> bools, foreground True: more than one half."""
    mask = np.asarray(mask)
    if mask.ndim == 3:
        mask = mask[..., 0]
    if mask.dtype == bool:
        return mask
    return mask > (0.5 if np.issubdtype(mask.dtype, np.floating) else HALF)


def foreground_ratio(mask: ArrayLike) -> float:
    """Share of pixels that :func:`binary` counts as foreground, in [0, 1]."""
    chosen = binary(mask)
    return np.count_nonzero(chosen) / max(chosen.size, 1)
