"""Mask files, and masks that were turned where their photo was not, or the other way round."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.colours import to_8_bits
from harmonyrt.runtime.images.decode import decode, turned, turned_back
from harmonyrt.runtime.images.mask_levels import levels_of
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT, Label, MaskFile, have_exchanged_sides, read_pixels
from harmonyrt.runtime.images.opening import Source
from harmonyrt.runtime.images.pictures import PictureFile, name_of


def read_mask_file(
    source: Source,
    *,
    name: str | None = None,
    max_megapixels: float = MEGAPIXEL_LIMIT,
    label: Label | None = None,
) -> MaskFile:
    """Read a mask: white = foreground; docs/masks.md says what else is understood.

    Args:
        source: a path, the bytes of a file, or one that is open for reading bytes.
        name: how messages name it; the path when not given.
        max_megapixels: larger masks are refused before they are decoded.
        label: as :func:`harmonyrt.runtime.images.masks.read_mask` takes it.

    Raises:
        HarmonyError: as :func:`harmonyrt.runtime.images.pictures.read_picture_file`, or a label that occurs nowhere.
    """
    where = name_of(source, "the mask") if name is None else name
    stored = decode(source, where, max_megapixels)
    pixels, notes = stored.pixels, []
    if stored.mode == "CMYK":
        image = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
        pixels = np.asarray(image.convert("RGB"))
    elif label is None and pixels.shape[2] in (2, 4) and pixels[..., -1].min() < pixels[..., -1].max():
        notes.append(f"the mask is the alpha channel of {where}")
    try:
        levels, remarks = read_pixels(pixels, label, stored.indices)
    except HarmonyError as error:
        raise HarmonyError(str(error).replace("the mask", where, 1)) from None
    plain = [f"{where} {remark.text}" for remark in remarks if not remark.doubtful]
    doubtful = tuple(f"{where} {remark.text}" for remark in remarks if remark.doubtful)
    return MaskFile(levels, (*notes, *plain), doubtful, stored.orientation)


def alpha_as_mask(picture: PictureFile, name: str) -> tuple[PictureFile, MaskFile]:
    """A picture without its alpha, which becomes the mask.

    Raises:
        HarmonyError: it has none.
    """
    if picture.alpha is None:
        raise HarmonyError(f"{name} has no alpha channel to take as the mask; give a mask")
    alpha = to_8_bits(picture.alpha)
    levels, remarks = levels_of(alpha, labels=False)
    warnings = [f"the alpha channel of {name} {remark.text}" for remark in remarks]
    notes = []
    under = picture.rgb[alpha == 0]
    if len(under) and (under == under[0]).all():
        warnings.append(
            f"{name} is a cut-out alone: all that is transparent has the colour {tuple(under[0].tolist())}, which shows"
            " in the output and tells the network nothing; paste the cut-out on its background first"
        )
    elif len(under):
        notes.append(f"the colours under the transparent pixels of {name} are taken as the background, and show")
    return dataclasses.replace(picture, alpha=None), MaskFile(
        levels, tuple(notes), tuple(warnings), picture.orientation
    )


class Upright(Protocol):
    """A picture that was turned upright, as :class:`harmonyrt.runtime.images.pictures.PictureFile` is."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""

    @property
    def orientation(self) -> int:
        """EXIF's, 1 to 8, which has been applied."""


def matched_mask(mask: MaskFile, picture: Upright, mask_name: str, picture_name: str) -> MaskFile:
    """The mask turned as its photo is, where only one of the two says by EXIF that it is to be turned.

    Both were read upright by their own EXIF. A mask made from a photo's stored pixels has no orientation, and one whose
    program kept the photo's EXIF has one too many; exchanged sides give either away. A turn by 180 degrees, a mirrored
    or a square picture does not show in the size: a note says so, and nothing is turned.
    """
    if mask.orientation == picture.orientation or (mask.orientation > 1 and picture.orientation > 1):
        return mask
    size, other = mask.values.shape[::-1], picture.size
    if mask.orientation == 1:
        turn, orientation = turned, picture.orientation
        says, lacks, was = picture_name, mask_name, "turned like it"
    else:
        turn, orientation = turned_back, mask.orientation
        says, lacks, was = mask_name, picture_name, "taken as it is stored"
    why = f"{says} has the EXIF orientation {orientation} and {lacks} has none"
    if orientation >= 5 and (size == other[::-1] != other or have_exchanged_sides(size, other)):
        return dataclasses.replace(
            mask,
            values=turn(mask.values, orientation),
            notes=(*mask.notes, f"{why}: the mask was {was}"),
            orientation=1,
        )
    if orientation >= 5 and size[0] != size[1]:
        return mask  # the sides go together upright: both were made for the upright picture
    doubt = f"{why}: both are taken as upright after it; if the result is misplaced, turn the mask alike"
    return dataclasses.replace(mask, notes=(*mask.notes, doubt))
