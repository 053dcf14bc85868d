"""A composite and its mask, as every verb reads them: upright, in one size, the mask inverted or resized as wished."""

from __future__ import annotations

import contextvars
import dataclasses
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.caller import warn
from harmonyrt.runtime.images.compose import compose
from harmonyrt.runtime.images.mask_files import alpha_as_mask, matched_mask, read_mask_file
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT, Label, MaskFile, fitted_mask
from harmonyrt.runtime.images.opening import Source
from harmonyrt.runtime.images.pictures import PictureFile, read_picture_file
from harmonyrt.runtime.machine import cores
from harmonyrt.runtime.pools import submitted

First = TypeVar("First")
Second = TypeVar("Second")


@dataclass(frozen=True)
class Reading:
    """How pictures and masks are read.

    Attributes:
        fit_mask: resize a mask of another size, instead of refusing it.
        invert_mask: the mask is white on the background.
        label: values of the mask that are the foreground, of a mask that holds labels; empty for other masks.
        max_megapixels: larger pictures are refused before they are decoded.
    """

    fit_mask: bool = False
    invert_mask: bool = False
    label: Label | None = None
    max_megapixels: float = MEGAPIXEL_LIMIT


@dataclass(frozen=True)
class Placing:
    """Where a cut-out goes on its background; see :func:`harmonyrt.runtime.images.compose.compose`."""

    at: tuple[int, int] = (0, 0)
    scale: float = 1.0
    premultiplied: bool = False


@dataclass(frozen=True)
class Inputs:
    """A composite and its mask, (H,W) uint8 with 255 = foreground, in the composite's size."""

    picture: PictureFile
    mask: np.ndarray
    notes: tuple[str, ...]
    match: MaskFile | None = None


def read_pair(
    composite: Source, mask: Source | None, how: Reading, composite_name: str, mask_name: str | None = None
) -> Inputs:
    """Read a composite and its mask.

    Args:
        composite: a path, the bytes of a file, or one that is open.
        mask: likewise; None takes the composite's alpha, which its output then lacks.
        how: what to do with the mask.
        composite_name: how messages name the composite.
        mask_name: how messages name the mask.

    Raises:
        HarmonyError: either cannot be read, or they do not match.

    Warns:
        HarmonyWarning: what is doubtful about the mask.
    """
    limit = how.max_megapixels

    def its_picture() -> PictureFile:
        return read_picture_file(composite, name=composite_name, max_megapixels=limit)

    if mask is None:
        picture, found = alpha_as_mask(its_picture(), composite_name)
    else:
        picture, found = _both(
            its_picture,
            lambda: read_mask_file(mask, name=mask_name, max_megapixels=limit, label=how.label or None),
            one_file=_is_same(composite, mask),
        )
        found = matched_mask(found, picture, mask_name or "the mask", composite_name)
    for sentence in found.warnings:
        warn(sentence)
    values = 255 - found.values if how.invert_mask else found.values
    height, width = picture.rgb.shape[:2]
    values = fitted_mask(values, width, height, how.fit_mask)
    return Inputs(picture, values, (*picture.notes, *found.notes))


def read_composed(
    cutout: Source, background: Source, placing: Placing, how: Reading, cutout_name: str, background_name: str
) -> Inputs:
    """Read a cut-out and a background, and paste one on the other: the cut-out's alpha is the mask.

    Args:
        cutout: a picture with alpha: a path, the bytes of a file, or one that is open.
        background: likewise, with or without alpha.
        placing: where the cut-out goes.
        how: its limit, and whether the mask is inverted.
        cutout_name: how messages name the cut-out.
        background_name: how messages name the background.

    Raises:
        HarmonyError: either cannot be read, or they do not match.
    """
    limit = how.max_megapixels
    first, second = _both(
        lambda: read_picture_file(cutout, name=cutout_name, max_megapixels=limit),
        lambda: read_picture_file(background, name=background_name, max_megapixels=limit),
        one_file=_is_same(cutout, background),
    )
    done = compose(first, second, placing.at, placing.scale, premultiplied=placing.premultiplied, megapixel_limit=limit)
    values = 255 - done.mask.values if how.invert_mask else done.mask.values
    return Inputs(done.composite, values, (*first.notes, *second.notes, *done.notes))


def with_match(inputs: Inputs, match: Source, how: Reading, match_name: str, composite_name: str) -> Inputs:
    """The same inputs, with a mask of the part of the background to match.

    Raises:
        HarmonyError: it cannot be read.
    """
    found = read_mask_file(match, name=match_name, max_megapixels=how.max_megapixels)
    for sentence in found.warnings:
        warn(sentence)
    notes = (*inputs.notes, *found.notes)
    matched = matched_mask(found, inputs.picture, match_name, composite_name)
    return dataclasses.replace(inputs, notes=notes, match=matched)


def _both(first: Callable[[], First], second: Callable[[], Second], one_file: bool) -> tuple[First, Second]:
    """Both results; the second file is read in another thread meanwhile, where there is a core for it.

    Decoders leave Python's lock alone. Where both fail, the first one's error counts, as if read one after another.
    """
    if one_file or cores() < 2:
        return first(), second()
    with ThreadPoolExecutor(1, "harmonyrt-read") as pool:
        later = submitted(pool, contextvars.copy_context().run, second)
        return first(), second() if later is None else later.result()


def _is_same(one: Source, other: Source) -> bool:
    """Whether two sources may be one open file, or a pipe, that two threads would read from in turns."""
    if isinstance(one, (str, os.PathLike)) and isinstance(other, (str, os.PathLike)):
        return os.fspath(one) == os.fspath(other) or not (os.path.isfile(one) and os.path.isfile(other))
    return one is other and hasattr(one, "read")


def read_place(text: str, option: str = "--at") -> tuple[int, int]:
    """The pixel that ``"x,y"`` names.

    Raises:
        HarmonyError: no two whole numbers.
    """
    found = re.fullmatch(r"\s*([+-]?\d{1,9})\s*,\s*([+-]?\d{1,9})\s*", text)
    if found is None:
        raise HarmonyError(
            f"{option} {text} is no place; give two whole numbers of pixels, for example {option} 120,40"
        )
    return int(found[1]), int(found[2])
