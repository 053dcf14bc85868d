"""Photos and masks from files, as the runtime reads them: upright, in sRGB, and one rule for what a mask's values mean.

A network that is trained on files and the runtime that it is deployed with have to see the same pixels in them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import HarmonyWarning
from harmonyrt.runtime.images.decode import turned_back
from harmonyrt.runtime.images.mask_files import matched_mask, read_mask_file
from harmonyrt.runtime.images.pictures import read_picture_file

HALF_OF_WHITE = 128
SAME_ASPECT = 0.02
"""A mask fits a photo whose aspect ratio differs by no more than this share, give or take a pixel."""


@dataclass(frozen=True)
class Photo:
    """An upright photo in sRGB.

    Attributes:
        image: RGB.
        orientation: EXIF's, 1 to 8, which has been applied.
    """

    image: Image.Image
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.size


def read_photo(path: Path) -> Photo:
    """A photo from a file.

    Raises:
        HarmonyError: it is missing, damaged, no picture, or too large.
    """
    file = read_picture_file(path)
    return Photo(Image.fromarray(file.rgb), file.orientation)


def read_mask_of(path: Path, photo: Photo, photo_path: Path) -> Image.Image:
    """A photo's mask (or matte) from a file, turned as the photo is, in its own size.

    docs/masks.md says what is understood.

    Returns:
        Mode L, 255 = foreground.

    Raises:
        HarmonyError: as :func:`read_photo`, or its sides are not the photo's.

    Warns:
        HarmonyWarning: nothing in it reaches half of white, so it has no foreground.
    """
    mask = matched_mask(read_mask_file(path), photo, str(path), str(photo_path))
    height, width = mask.values.shape
    if not _fits((width, height), photo.size):
        raise HarmonyError(
            f"{path} has {width}x{height} pixels and its photo {photo_path} {photo.size[0]}x{photo.size[1]}: that is"
            " another shape; remove the mask or replace it"
        )
    highest = int(mask.values.max())
    if highest < HALF_OF_WHITE:
        advice = "see that it is the mask of this photo, white in the foreground"
        warnings.warn(
            f"{path} shows no foreground: nothing in it is above {highest} of 255; {advice}",
            HarmonyWarning,
            stacklevel=2,
        )
    return Image.fromarray(mask.values)


def read_pair(composite: Path, mask: Path, real: Path) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Composite (RGB), mask (L) and real picture (RGB) of a dataset's pair, each in its own size.

    A real picture that kept its camera's EXIF orientation is taken as it is stored where its composite has none: the
    program that made the composite did the same.

    Raises:
        HarmonyError: as :func:`read_mask_of`, or the real picture has another shape than its composite.
    """
    made, truth = read_photo(composite), read_photo(real)
    image = truth.image
    if made.orientation == 1 != truth.orientation:
        image = Image.fromarray(turned_back(np.asarray(image), truth.orientation))
    if not _fits(image.size, made.size):
        raise HarmonyError(f"{real} and its composite {composite} have different shapes; restore them")
    return made.image, read_mask_of(mask, made, composite), image


def _fits(size: tuple[int, int], other: tuple[int, int]) -> bool:
    (width, height), (other_width, other_height) = size, other
    one_pixel = max(width, other_width, height, other_height)
    difference = abs(width * other_height - height * other_width)
    return difference <= max(SAME_ASPECT * height * other_width, one_pixel)
