"""Masks as callers have them, brought to one form, with a sentence for what cannot be used.

Inside the runtime a mask is uint8, height x width, 255 = foreground; values between blend. 8 bits are what the output
has: a finer mask could not be seen in it.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.runtime.foreground import HALF, foreground_ratio
from harmonyrt.runtime.hidden_colours import Seen

MEGAPIXEL_LIMIT = 200.0

# Above this share, a foreground that also covers the picture's corners is probably the background.
_INVERTED_SHARE = 0.6
_INVERTED_CORNERS = 3
_FLOAT_SLACK = 1e-3  # beyond 0 and 1: rounding of the program that made the mask


def read_mask(mask: Any, width: int, height: int, fit_mask: bool = False) -> np.ndarray:
    """Bring a mask to the runtime's form.

    Args:
        mask: height x width (or x 1) array: bool; integers from 0 to 255, or 0 and 1 only; uint16; floats from
            0 to 1, give or take rounding.
            Or a PIL image of mode 1, L, I;16, I, F, RGB(A), LA or P. Where an RGBA or LA mask has an alpha that
            varies, the alpha is the mask (a cut-out); else its brightness is.
        width: of the composite.
        height: of the composite.
        fit_mask: resize a mask of another size, instead of refusing it.

    Returns:
        uint8, height x width, 255 = foreground. May share memory with `mask`; never written to.

    Raises:
        HarmonyError: another type, shape or range, NaN, or another size without `fit_mask`.
    """
    if isinstance(mask, Image.Image):
        levels = _mask_from_pil(mask)
    elif isinstance(mask, np.ndarray):
        levels = _mask_from_array(mask)
    else:
        raise HarmonyError(_other_type(mask))
    found_height, found_width = levels.shape
    if (found_width, found_height) == (width, height):
        return levels
    if not fit_mask or 0 in levels.shape:
        raise HarmonyError(
            f"the mask is {found_width}x{found_height} and the composite {width}x{height};"
            " give a mask of the same size, or fit_mask=True (--fit-mask) to resize it"
        )
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))


def _other_type(mask: Any) -> str:
    kind = type(mask).__name__
    if isinstance(mask, (str, bytes, bytearray, os.PathLike, io.IOBase)):
        return (
            f"the mask is a {kind}; pixels are taken here, not files: read it with"
            " harmonyrt.runtime.pictures.read_mask_file, or open it with PIL.Image.open"
        )
    return f"the mask is a {kind}; give a NumPy array of height x width or a PIL image"


def _mask_from_pil(mask: Image.Image) -> np.ndarray:
    try:
        if mask.mode == "P":
            mask = mask.convert("RGBA" if "transparency" in mask.info else "RGB")
        if mask.mode in ("RGBA", "LA"):
            alpha = np.asarray(mask.getchannel("A"))
            return alpha if alpha.min() != alpha.max() else np.asarray(mask.convert("RGB").convert("L"))
        if mask.mode in ("1", "L", "RGB"):
            levels = np.asarray(mask if mask.mode == "L" else mask.convert("L"))
            return _from_integers(levels)
        if mask.mode == "I" or mask.mode.startswith("I;16"):
            return _from_integers(_unsigned(np.asarray(mask)))
        if mask.mode == "F":
            return _from_floats(np.asarray(mask))
    except (OSError, SyntaxError, ValueError) as error:
        raise HarmonyError(f"the mask cannot be decoded ({error}); the file is damaged or cut short") from None
    raise HarmonyError(f"the mask is a PIL image of mode {mask.mode}; convert it to L, black and white, first")


def _mask_from_array(mask: np.ndarray) -> np.ndarray:
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim == 3 and mask.shape[2] in (3, 4) and mask.dtype == np.uint8:
        return _mask_from_pil(Image.fromarray(mask))
    if mask.ndim != 2:
        raise HarmonyError(f"the mask has shape {mask.shape}; give height x width, or height x width x 1")
    if mask.dtype == bool:
        return mask.view(np.uint8) * np.uint8(255)
    if mask.dtype.kind in "ui":
        return _from_integers(mask)
    if mask.dtype.kind == "f":
        return _from_floats(mask)
    raise HarmonyError(f"the mask has dtype {mask.dtype}; give bool, uint8 or float from 0 to 1")


def _from_integers(mask: np.ndarray) -> np.ndarray:
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if mask.dtype.kind == "u" and mask.dtype.itemsize == 2 and high > 255:
        return ((mask.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if low < 0 or high > 255:
        more = "; 16 bits as uint16" if low >= 0 and high <= 65535 else ""
        raise HarmonyError(f"the mask has integers from {low} to {high}; give 0 to 255, or 0 and 1{more}")
    levels = mask.astype(np.uint8, copy=False)
    return levels * np.uint8(255) if high == 1 else levels


def _from_floats(mask: np.ndarray) -> np.ndarray:
    low, high = (float(mask.min()), float(mask.max())) if mask.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN shows in the minimum
        raise HarmonyError("the mask has NaN or infinite values; give floats from 0 to 1")
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        slight = low > -0.5 and high < 2  # what a resize with overshoot makes; dividing would ruin it
        advice = "cut off, with .clip(0, 1)" if slight else "scaled (for 0..255: divide by 255)"
        raise HarmonyError(f"the mask has floats from {low:g} to {high:g}; give 0 to 1: {advice}")
    return (mask.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _unsigned(mask: np.ndarray) -> np.ndarray:
    """32-bit integers that fit into 16 bits as those: that is how PIL holds some 16-bit files."""
    fits = mask.dtype == np.int32 and mask.size and int(mask.min()) >= 0 and int(mask.max()) <= 65535
    return mask.astype(np.uint16) if fits else mask


def check_mask(mask: np.ndarray) -> bool:
    """Warn about a mask that is probably a mistake.

    A mask looks inverted when it covers more than 60 % of the picture and at least three of its four corners:
    pasted objects seldom do either.

    Args:
        mask: as :func:`read_mask` returns it.

    Returns:
        False when the mask is empty, so that there is nothing to do.
    """
    if not mask.any():
        _warn("the mask is empty: the composite is returned unchanged")
        return False
    share = foreground_ratio(mask)
    if share == 1:
        _warn("the mask covers the whole picture: the network has no background to learn from")
    elif share > _INVERTED_SHARE and mask.size > 1:
        corners = sum(int(mask[row, column]) > HALF for row in (0, -1) for column in (0, -1))
        if corners >= _INVERTED_CORNERS:
            _warn(
                f"the mask looks inverted: it covers {share:.0%} of the picture and {corners} of its corners;"
                " the foreground must be white (1) and the background black (0)"
            )
    return True


def check_seen(seen: Seen) -> bool:
    """Warn about a composite whose transparency leaves nothing to work on, or nothing to learn from.

    Returns:
        False when no foreground is visible, so that there is nothing to do.
    """
    if not seen.mask.any():
        _warn("the foreground is transparent everywhere: the composite is returned unchanged")
        return False
    if not seen.has_background:
        _warn(
            "no background is visible, the composite is a cut-out alone: the network has nothing to learn from;"
            " paste it on its background first"
        )
    return True


def _warn(message: str) -> None:
    warnings.warn(message, HarmonyWarning, stacklevel=_levels_to_caller())


def _levels_to_caller() -> int:
    """For `stacklevel` of the function that asks: the nearest frame that is not the runtime's own code."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("harmonyrt.runtime"):
        level, frame = level + 1, frame.f_back
    return level
