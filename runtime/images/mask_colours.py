"""Masks in colour: one colour on black, a colour for each label, or grey in three channels, brought to one channel.

docs/masks.md says it for users.
"""

from __future__ import annotations

import numpy as np

from harmonyrt.runtime.images.mask_levels import FAINT, Remark, levels_of

VOID = (224, 224, 192)
"""PASCAL VOC's colour of the border around objects, which belongs to no label."""

_DARK = 16  # the strongest channel of what counts as black
_MOST_COLOURS = 64  # more are no colours of labels
_GREY = 4  # channels that differ by less than a quarter of the strongest are grey
_OFF_HUE = 24  # levels that JPEG and rounding move a channel by
_ROWS_AT_ONCE = 256


def levels_of_colours(rgb: np.ndarray, indices: np.ndarray | None = None) -> tuple[np.ndarray, list[Remark]]:
    """Levels of 0 to 255 from a mask in colour.

    Args:
        rgb: height x width x 3, uint8, not empty.
        indices: height x width, uint8: of a palette, whose colours `rgb` shows; None for other pictures.

    Returns:
        uint8, height x width, and remarks.
    """
    strongest = rgb.max(axis=2)
    if int(strongest.max()) <= FAINT:  # labels in a channel
        return levels_of(strongest)
    coloured = (strongest > _DARK) & ((strongest - rgb.min(axis=2)) > strongest // _GREY)
    if np.count_nonzero(coloured) * 100 < np.count_nonzero(strongest > _DARK):
        return levels_of(luma(rgb))
    colours = _distinct(rgb)
    hue = _one_hue(rgb, strongest, coloured, colours)
    if hue is not None:
        return hue
    if colours is None:
        text = (
            "is a picture in many colours: its brightness is taken as the mask; give black and white, or one colour per"
        )
        return luma(rgb), [Remark("mixed", f"{text} label on black", True)]
    if int(colours.max(axis=1).min()) <= _DARK:
        void = (rgb == np.array(VOID, np.uint8)).all(axis=2)
        count = len(colours) - int((colours.max(axis=1) <= _DARK).sum()) - int(void.any())
        if not count:
            void[...] = False
        border = f", except {VOID}, the border" if void.any() else ""
        text = f"has {max(count, 1)} colours on black: all of them are taken as the foreground{border}"
        return np.where((strongest > _DARK) & ~void, np.uint8(255), np.uint8(0)), [Remark("labels", text)]
    grey = luma(rgb)
    if len(colours) == 2:
        text = "has two colours: the brighter one is taken as the foreground"
        return np.where(grey == grey.max(), np.uint8(255), np.uint8(0)), [Remark("labels", text)]
    if indices is not None and int(indices.min()) == 0:
        return levels_of(indices)
    text = "has several colours and no black: which is the background cannot be told, brightness is taken as the mask"
    return grey, [Remark("mixed", f"{text}; give black and white, or one colour per label on black", True)]


def luma(rgb: np.ndarray) -> np.ndarray:
    """Brightness (ITU-R BT.601) of height x width x 3 uint8, rounded to uint8; equal channels stay as they are."""
    result = np.empty(rgb.shape[:2], np.uint8)
    for start in range(0, len(rgb), _ROWS_AT_ONCE):
        r, g, b = np.moveaxis(rgb[start : start + _ROWS_AT_ONCE].astype(np.uint32), 2, 0)
        result[start : start + _ROWS_AT_ONCE] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16
    return result


def _distinct(rgb: np.ndarray) -> np.ndarray | None:
    """The colours that occur, n x 3 int; None when they are more than labels would be."""
    seen = np.zeros(1 << 24, bool)
    for start in range(0, len(rgb), _ROWS_AT_ONCE):
        r, g, b = np.moveaxis(rgb[start : start + _ROWS_AT_ONCE].astype(np.uint32), 2, 0)
        seen[(r << 16 | g << 8 | b).ravel()] = True
    packed = np.flatnonzero(seen)
    if len(packed) > _MOST_COLOURS:
        return None
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)


def _one_hue(
    rgb: np.ndarray, strongest: np.ndarray, coloured: np.ndarray, colours: np.ndarray | None
) -> tuple[np.ndarray, list[Remark]] | None:
    """One colour on black, hard or soft: the strongest channel, with that colour's own as white."""
    peak = int(strongest.max())
    full = rgb[strongest >= peak - peak // 10].astype(np.float32).mean(axis=0)
    ratios = full / full.max()
    pixels = rgb[coloured] if colours is None else colours[colours.max(axis=1) > _DARK]
    pixels = pixels.astype(np.float32)
    off = np.abs(pixels - pixels.max(axis=1, keepdims=True) * ratios).max(axis=1)
    if np.count_nonzero(off > _OFF_HUE) * 50 > len(off) or (colours is not None and (off > _OFF_HUE).any()):
        return None
    if int(strongest.min()) > _DARK:
        return None
    red, green, blue = (int(value + 0.5) for value in full)
    text = f"has one colour, ({red}, {green}, {blue}), on black: it is taken as white"
    table = np.minimum((np.arange(256) * 255 + peak // 2) // peak, 255).astype(np.uint8)
    return table[strongest], [Remark("labels", text)]
