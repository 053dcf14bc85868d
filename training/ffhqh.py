"""FFHQH, the PHNet paper's portrait dataset (section 3.2): its colour augmentation, mask sources and split.

The paper names torchvision's transforms; on PIL images those are Pillow's own enhancers, in the order that is printed:
``ColorJitter(brightness=0.5, contrast=0.4, saturation=0.06, hue=0.05)``, ``RandomPosterize(6, p=0.5)``,
``RandomAdjustSharpness(4, p=0.5)``, ``RandomAutocontrast(p=0.5)``. Nothing bounds how strong the change may be.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from harmonyrt.common import HarmonyError
from harmonyrt.training.files import Photo, read_mask_of

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.5, 0.4, 0.06, 0.05
POSTERIZE_BITS, SHARPNESS, CHANCE = 6, 4.0, 0.5
SPLIT = {"train": 60_000, "val": 5_000, "test": 5_000}
"""Of 70,000 portraits."""
MATTE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")

MaskSource = Callable[[Path, Photo], np.ndarray]
"""Where a photo's matte comes from: the photo's path and the photo -> alpha (H,W), uint8, or float in [0, 1]."""


def augmented(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The paper's augmentation of an RGB image."""
    factors = [rng.uniform(1 - spread, 1 + spread) for spread in (BRIGHTNESS, CONTRAST, SATURATION)]
    hue = rng.uniform(-HUE, HUE)
    jitters: list[Callable[[Image.Image], Image.Image]] = [
        lambda image: ImageEnhance.Brightness(image).enhance(factors[0]),
        lambda image: ImageEnhance.Contrast(image).enhance(factors[1]),
        lambda image: ImageEnhance.Color(image).enhance(factors[2]),
        lambda image: turned(image, hue),
    ]
    for n in rng.permutation(len(jitters)):  # ColorJitter draws their order
        photo = jitters[n](photo)
    if rng.random() < CHANCE:
        photo = ImageOps.posterize(photo, POSTERIZE_BITS)
    if rng.random() < CHANCE:
        photo = ImageEnhance.Sharpness(photo).enhance(SHARPNESS)
    if rng.random() < CHANCE:
        photo = ImageOps.autocontrast(photo)
    return photo


def turned(image: Image.Image, share: float) -> Image.Image:
    """An RGB image with its hue turned by a share of the circle, in HSV."""
    hue, saturation, value = image.convert("HSV").split()
    shifted = (np.asarray(hue, np.int16) + int(share * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(shifted.astype(np.uint8)), saturation, value)).convert("RGB")


def composite_of(photo: np.ndarray, matte: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A portrait whose foreground has changed.

    The object is cut out on black before it is augmented ("we obtained foreground objects and applied color
    augmentations"), so contrast and autocontrast see nothing of the background.

    Args:
        photo: (H,W,3) uint8.
        matte: (H,W) uint8, 255 = foreground.
        rng: draws the augmentation.

    Returns:
        (H,W,3) uint8, the augmented object blended over the photo by the matte.
    """
    cut_out = Image.fromarray(np.where(matte[..., None] > 0, photo, 0).astype(np.uint8))
    changed = augmented(cut_out, rng)
    return np.asarray(Image.composite(changed, Image.fromarray(photo), Image.fromarray(matte)))


def split_of(name: str) -> Literal["train", "val", "test"]:
    """The split of a portrait, in the paper's shares, from a hash of its name: it does not depend on the others."""
    point = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 * sum(SPLIT.values())
    if point < SPLIT["test"]:
        return "test"
    return "val" if point < SPLIT["test"] + SPLIT["val"] else "train"


class MatteFolder:
    """Mattes that a matting network has written: a file with the photo's stem, in one folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise HarmonyError(f"{folder} is not a folder; give the folder of the mattes")
        self.folder = folder
        self.files: Mapping[str, Path] = {
            path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in MATTE_SUFFIXES
        }

    def __call__(self, path: Path, photo: Photo) -> np.ndarray:
        """The matte at the photo's size; of an image with transparency, its alpha."""
        file = self.files.get(path.stem)
        if file is None:
            raise HarmonyError(f"{self.folder} has no matte {path.stem}.png for {path}; add it, or remove the photo")
        return np.asarray(read_mask_of(file, photo, path).resize(photo.size, Image.Resampling.BILINEAR))


def mask_source(text: str) -> MaskSource:
    """A folder of mattes, or ``module:function``, which is imported and called with each photo's path and pixels.

    Raises:
        HarmonyError: it is neither.
    """
    module, colon, name = text.partition(":")
    if not colon or Path(text).is_dir():
        return MatteFolder(Path(text))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HarmonyError(
            f"the mask source {text} cannot be imported ({error}); give a folder of mattes, or module:function of an"
            " installed module"
        ) from None
    if not callable(found):
        raise HarmonyError(f"the mask source {text} is not a function; give module:function")
    return lambda path, photo: found(path, np.asarray(photo.image))


def checked_matte(matte: np.ndarray, photo: np.ndarray, path: Path) -> np.ndarray:
    """A source's answer as (H,W) uint8.

    Raises:
        HarmonyError: another shape than the photo's, or values that are no alpha.
    """
    matte = np.asarray(matte)
    if matte.ndim == 3 and 1 in (matte.shape[0], matte.shape[-1]):
        matte = matte.squeeze(0 if matte.shape[0] == 1 else -1)
    if matte.shape != photo.shape[:2]:
        raise HarmonyError(
            f"the matte of {path} has shape {matte.shape}, its photo {photo.shape[:2]}; give one value for each pixel"
        )
    if matte.dtype == np.uint8:
        return matte
    if matte.dtype == bool:
        return matte.astype(np.uint8) * 255
    in_range = matte.size > 0 and np.isfinite(matte).all() and matte.min() >= -1e-3 and matte.max() <= 1.001
    if not np.issubdtype(matte.dtype, np.floating) or not in_range:
        raise HarmonyError(f"the matte of {path} is {matte.dtype} with other values than 0 to 1; give uint8, or 0 to 1")
    return np.round(matte.clip(0, 1) * 255).astype(np.uint8)
