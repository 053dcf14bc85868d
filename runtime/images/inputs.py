"""A composite and its mask, as every verb reads them: upright, in one size, the mask inverted or resized as wished."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyWarning
from harmonyrt.runtime.images.mask_files import alpha_as_mask, matched_mask, read_mask_file
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT, Label, MaskFile, fitted_mask
from harmonyrt.runtime.images.opening import Source
from harmonyrt.runtime.images.pictures import PictureFile, read_picture_file


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
        HarmonyError: either cannot be read, or they do not go together.

    Warns:
        HarmonyWarning: what is doubtful about the mask.
    """
    limit = how.max_megapixels
    picture = read_picture_file(composite, name=composite_name, max_megapixels=limit)
    if mask is None:
        picture, found = alpha_as_mask(picture, composite_name)
    else:
        found = read_mask_file(mask, name=mask_name, max_megapixels=limit, label=how.label or None)
        found = matched_mask(found, picture, mask_name or "the mask", composite_name)
    for sentence in found.warnings:
        warnings.warn(sentence, HarmonyWarning, stacklevel=2)
    values = 255 - found.values if how.invert_mask else found.values
    height, width = picture.rgb.shape[:2]
    values = fitted_mask(values, width, height, how.fit_mask)
    return Inputs(picture, values, (*picture.notes, *found.notes))
