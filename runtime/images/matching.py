"""`match`: the part of the background that the network is to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.foreground import HALF
from harmonyrt.runtime.images.masks import read_mask


def read_match(match: Any, mask: np.ndarray, alpha: np.ndarray | None, fit_mask: bool) -> np.ndarray:
    """Convert a match mask to the runtime's convention.

    Args:
        match: white where the background counts; of the same types as a mask.
        mask: height x width, uint8, 255 = foreground.
        alpha: of the composite, height x width, uint8; None where it has none.
        fit_mask: resize a match mask of another size, instead of refusing it.

    Returns:
        uint8, height x width.

    Raises:
        HarmonyError: it cannot be read, is empty, or has no visible background under it.
    """
    height, width = mask.shape
    try:
        levels = read_mask(match, width, height, fit_mask)
    except HarmonyError as error:
        raise HarmonyError(str(error).replace("the mask", "the match mask", 1)) from None
    chosen = levels > HALF
    if not chosen.any():
        raise HarmonyError("the match mask is empty; paint the part of the background to match white")
    chosen &= mask <= HALF
    if alpha is not None:
        chosen &= alpha > 0
    if not chosen.any():
        raise HarmonyError(
            "the match mask covers no visible background; paint a part of it white that is neither foreground nor"
            " transparent"
        )
    return levels
