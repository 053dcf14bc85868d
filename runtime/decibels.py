"""PSNR as manifests and comparisons of engines state it: capped, so that equal outputs have a number too."""

from __future__ import annotations

import numpy as np

MOST_DB = 200.0
"""PSNR of equal arrays."""


def psnr_db(difference: np.ndarray, peak: float = 1.0) -> float:
    """PSNR of two arrays from their difference, in dB, at most :data:`MOST_DB`.

    Args:
        difference: one minus the other, of any shape and type.
        peak: largest value that the arrays are meant to have; 0 counts as equal.
    """
    mean = float(np.mean(difference.astype(np.float64) ** 2))
    return MOST_DB if mean == 0 or peak == 0 else min(MOST_DB, 10 * float(np.log10(peak**2 / mean)))
