"""Conversion of callers' masks to one layout, with a sentence for what cannot be used.

Inside the runtime a mask is uint8, height x width, 255 = foreground; values between blend. 8 bits are what the output
has: a finer mask could not be seen in it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning
from harmonyrt.runtime.caller import warn
from harmonyrt.runtime.images.colours import to_8_bits
from harmonyrt.runtime.images.foreground import HALF, foreground_ratio
from harmonyrt.runtime.images.hidden_colours import Seen
from harmonyrt.runtime.images.mask_colours import levels_of_colours
from harmonyrt.runtime.images.mask_levels import Remark, chosen_labels, levels_of

MEGAPIXEL_LIMIT = 200.0

# Above this share, a foreground that also covers the picture's corners is probably the background.
_INVERTED_SHARE = 0.6
_INVERTED_CORNERS = 3
_FLOAT_SLACK = 1e-3  # beyond 0 and 1: rounding of the program that made the mask


@dataclass(frozen=True)
class MaskFile:
    """A mask that was read and checked: the runtime takes it as it is and does not warn about it again.

    Attributes:
        values: (H,W) uint8, 255 = foreground.
        notes: sentences for the user about how it was read.
        warnings: sentences about what is probably a mistake.
        orientation: EXIF's, 1 to 8, which has been applied.
    """

    values: np.ndarray
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    orientation: int = 1


Label = int | Sequence[int]


def read_mask(mask: Any, width: int, height: int, fit_mask: bool = False, label: Label | None = None) -> np.ndarray:
    """Convert a mask for the runtime.

    Args:
        mask: height x width (or x 1) array: bool; integers from 0 to 255 (uint16: to 65535); floats from 0 to 1,
            give or take rounding; or uint8 RGB(A). Or a PIL image of mode 1, L, I;16, I, F, RGB(A), LA or P. Where an
            RGBA or LA mask has an alpha that varies, that is the mask (a cut-out). Or a :class:`MaskFile`. What values
            mean: :mod:`harmonyrt.runtime.images.mask_levels` and :mod:`harmonyrt.runtime.images.mask_colours`.
        width: of the composite.
        height: of the composite.
        fit_mask: resize a mask of another size, instead of refusing it.
        label: one or several values (of a palette: its indices) that are the foreground; everything else is background.

    Returns:
        uint8, height x width, 255 = foreground. May share memory with `mask`; never written to.

    Raises:
        HarmonyError: another type, shape or range, NaN, a label that occurs nowhere, or another size without
            `fit_mask`.

    Warns:
        HarmonyNote: how values were understood that are not black and white.
        HarmonyWarning: values that are probably a mistake.
    """
    if isinstance(mask, MaskFile):
        levels, remarks = mask.values, list[Remark]()
    elif isinstance(mask, Image.Image):
        levels, remarks = _mask_from_pil(mask, label)
    elif isinstance(mask, np.ndarray):
        levels, remarks = _mask_from_array(np.asarray(mask), label)  # not a matrix, whose parts are matrices
    else:
        raise HarmonyError(_other_type(mask))
    for remark in remarks:
        if remark.kind != "binary":  # what 0 and 1 mean is documented
            warn(f"the mask {remark.text}", HarmonyWarning if remark.doubtful else HarmonyNote)
    return fitted_mask(levels, width, height, fit_mask)


def fitted_mask(levels: np.ndarray, width: int, height: int, fit_mask: bool) -> np.ndarray:
    """A mask in the composite's size.

    Raises:
        HarmonyError: it has another size without `fit_mask`, or exchanged sides.
    """
    found_height, found_width = levels.shape
    if (found_width, found_height) == (width, height):
        return levels
    sizes = f"the mask is {found_width}x{found_height} and the composite {width}x{height}"
    if 0 not in levels.shape and have_exchanged_sides((found_width, found_height), (width, height)):
        raise HarmonyError(
            f"{sizes}: their sides are exchanged, so one of them was turned (a phone's photo carries its turn as EXIF"
            " orientation); give both upright, or both as they are stored"
        )
    if not fit_mask or 0 in levels.shape:
        raise HarmonyError(f"{sizes}; give a mask of the same size, or fit_mask=True (--fit-mask) to resize it")
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))


def _other_type(mask: Any) -> str:
    kind = type(mask).__name__
    if isinstance(mask, (str, bytes, bytearray, os.PathLike, io.IOBase)):
        return (
            f"the mask is a {kind}; pixels are taken here, not files: read it with"
            " harmonyrt.runtime.images.mask_files.read_mask_file, or open it with PIL.Image.open"
        )
    if hasattr(mask, "__cuda_array_interface__"):
        return f"the mask is a {kind} in a GPU's memory: harmonize_on_device() takes it there, or copy it to the host"
    return f"the mask is a {kind}; give a NumPy array of height x width or a PIL image"


def have_exchanged_sides(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one picture has about the aspect ratio of the other turned by a quarter, and not its own."""
    (width, height), (other_width, other_height) = size, other
    return (
        abs(width * other_width - height * other_height) * 50 <= height * other_height
        and abs(width * other_height - height * other_width) * 10 > height * other_width
    )


Read = tuple[np.ndarray, list[Remark]]


def _mask_from_pil(mask: Image.Image, label: Label | None) -> Read:
    try:
        mask.load()
        if mask.mode == "P":
            indices, colours = np.asarray(mask), mask.convert("RGBA" if "transparency" in mask.info else "RGB")
            return read_pixels(np.asarray(colours), label, indices)
        if mask.mode in ("LA", "RGB", "RGBA"):
            return read_pixels(np.asarray(mask), label)
        if mask.mode in ("1", "L", "F") or mask.mode.startswith("I"):
            pixels = np.asarray(mask)
            return _mask_from_array(pixels.astype(np.uint16) if _fits_16_bits(mask.mode, pixels) else pixels, label)
    except (OSError, SyntaxError, ValueError) as error:
        raise HarmonyError(f"the mask cannot be decoded ({error}); the file is damaged or cut short") from None
    raise HarmonyError(f"the mask is a PIL image of mode {mask.mode}; convert it to L, black and white, first")


def _fits_16_bits(mode: str, pixels: np.ndarray) -> bool:
    """Of mode I, in which some versions of Pillow open 16-bit files."""
    return mode == "I" and pixels.size > 0 and int(pixels.min()) >= 0 and int(pixels.max()) <= 65535


def read_pixels(pixels: np.ndarray, label: Label | None = None, indices: np.ndarray | None = None) -> Read:
    """Levels and remarks of a mask's pixels as a file holds them.

    Args:
        pixels: (H,W) or (H,W,C), uint8 or uint16: grey, grey and alpha, RGB or RGBA.
        label: as :func:`read_mask` takes it.
        indices: (H,W) uint8: of a palette whose colours `pixels` shows.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    if label is not None:
        if indices is None and channels > 2 and (pixels[..., :3] != grey[..., None]).any():
            raise HarmonyError("the mask is coloured and has no label numbers; give one of grey values or a palette")
        return chosen_labels(grey if indices is None else indices, label), []
    if channels in (2, 4) and pixels[..., -1].min() != pixels[..., -1].max():
        return levels_of(np.ascontiguousarray(pixels[..., -1]), labels=False)
    if channels <= 2:
        return levels_of(np.ascontiguousarray(grey))
    if pixels.dtype == np.uint16:
        same = (pixels[..., 1] == grey).all() and (pixels[..., 2] == grey).all()
        return levels_of(np.ascontiguousarray(grey)) if same else levels_of_colours(to_8_bits(pixels[..., :3]))
    return levels_of_colours(np.ascontiguousarray(pixels[..., :3]), indices)


def _mask_from_array(mask: np.ndarray, label: Label | None) -> Read:
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim == 3 and mask.shape[2] in (3, 4) and mask.dtype == np.uint8 and mask.size:
        return read_pixels(mask, label)
    if mask.ndim != 2:
        raise HarmonyError(f"the mask has shape {mask.shape}; give height x width, or height x width x 1")
    if mask.size == 0:
        return np.zeros(mask.shape, np.uint8), []
    if label is not None and mask.dtype.kind in "uif":
        return chosen_labels(mask, label), []
    if mask.dtype == bool:
        return np.where(mask, np.uint8(255), np.uint8(0)), []  # the bytes of a true need not be 1
    if mask.dtype.kind in "ui":
        return _from_integers(mask)
    if mask.dtype.kind == "f":
        return _from_floats(mask)
    raise HarmonyError(f"the mask has dtype {mask.dtype}; give bool, uint8 or float from 0 to 1")


def _from_integers(mask: np.ndarray) -> Read:
    low, high = int(mask.min()), int(mask.max())
    more = "; 16 bits as uint16" if low >= 0 and high <= 65535 else ""
    if low < 0 or high > (65535 if mask.dtype.kind == "u" and mask.dtype.itemsize == 2 else 255):
        raise HarmonyError(
            f"the mask has integers from {low} to {high}; give 0 to 255, or 0 and 1{more};"
            " of labels choose with label= (--label)"
        )
    return levels_of(mask.astype(np.uint8 if high <= 255 else np.uint16, copy=False))


def _from_floats(mask: np.ndarray) -> Read:
    low, high = float(mask.min()), float(mask.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN shows in the minimum
        raise HarmonyError("the mask has NaN or infinite values; give floats from 0 to 1")
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        slight = low > -0.5 and high < 2  # what a resize with overshoot makes; dividing would ruin it
        advice = "cut off, with .clip(0, 1)" if slight else "scaled (for 0..255: divide by 255)"
        raise HarmonyError(f"the mask has floats from {low:g} to {high:g}; give 0 to 1: {advice}")
    return levels_of((mask.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8))


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
        warn("the mask is empty: the composite is returned unchanged")
        return False
    share = foreground_ratio(mask)
    if share == 1:
        warn("the mask covers the whole picture: the network has no background to learn from")
    elif share > _INVERTED_SHARE and mask.size > 1:
        corners = sum(int(mask[row, column]) > HALF for row in (0, -1) for column in (0, -1))
        if corners >= _INVERTED_CORNERS:
            warn(
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
        warn("the foreground is transparent everywhere: the composite is returned unchanged")
        return False
    if not seen.has_background:
        warn(
            "no background is visible, the composite is a cut-out alone: the network has nothing to learn from;"
            " paste it on its background first"
        )
    return True
