"""From a cut-out and a background to a composite and its mask, in the background's size, depth and colour space.

composed = compose(read_picture_file("cutout.png"), read_picture_file("background.jpg"), at=(120, 40), scale=0.5)
harmonized = harmonizer.harmonize(composed.composite, composed.mask)
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import TooLarge
from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images.colour_matrix import MatrixSpace, matrix_space
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT, MaskFile
from harmonyrt.runtime.images.pictures import PictureFile
from harmonyrt.runtime.resample import resample


@dataclass(frozen=True)
class Composed:
    """A composite and its mask.

    Attributes:
        composite: the background with the cut-out on it; what else the background's file said is kept.
        mask: the cut-out's alpha where it was pasted, of the composite's size.
        notes: sentences for the user about what could not be kept.
    """

    composite: PictureFile
    mask: MaskFile
    notes: tuple[str, ...]


def compose(
    cutout: PictureFile,
    background: PictureFile,
    at: tuple[int, int] = (0, 0),
    scale: float = 1.0,
    *,
    premultiplied: bool = False,
    megapixel_limit: float | None = MEGAPIXEL_LIMIT,
) -> Composed:
    """Paste a cut-out on a background.

    The cut-out's colours are converted to the background's space, scaled with antialias while they are multiplied by
    alpha (so that no colour under transparent pixels shows at its edge), and laid over the background as stored values,
    as editors do. What sticks out beyond the border is cut off. Where its alpha is 0, the background's bytes stay.

    Args:
        cutout: with alpha.
        background: with or without.
        at: pixel of the background (x, y) on which the cut-out's upper left corner goes; may be negative.
        scale: of the cut-out.
        premultiplied: the cut-out's colours are multiplied by its alpha already, against what its format says.
        megapixel_limit: refuse scaled cut-outs that are larger; None for no limit.

    Raises:
        HarmonyError: a cut-out without alpha or wholly transparent, a scale that cannot be, or nothing of the cut-out
            on the background.
    """
    if cutout.alpha is None:
        raise HarmonyError("the cut-out has no alpha channel; give one whose background is transparent")
    size = _scaled_size(cutout, scale, megapixel_limit)
    height, width = background.rgb.shape[:2]
    theirs, ours = _overlap(at, size, (width, height))
    alpha = cutout.alpha.astype(np.float32) / np.iinfo(cutout.alpha.dtype).max
    colours = _in_space_of(background, cutout, alpha if premultiplied else None) * alpha[..., None]
    scaled = _scaled(np.dstack([colours, alpha]), size)[theirs]
    share = np.rint(scaled[..., 3] * 255).clip(0, 255).astype(np.uint8)
    if not share.any():
        raise HarmonyError("nothing of the cut-out is visible there: its pixels on the background are all transparent")
    composite = _laid_over(background, scaled, share, ours)
    mask = np.zeros((height, width), np.uint8)
    mask[ours] = share
    return Composed(composite, MaskFile(mask), tuple(_notes(cutout, background)))


def _scaled_size(cutout: PictureFile, scale: float, limit: float | None) -> tuple[int, int]:
    """Width and height of the scaled cut-out."""
    height, width = cutout.rgb.shape[:2]
    if not (math.isfinite(scale) and scale > 0):
        raise HarmonyError(f"the scale is {scale:g}; give a number above 0, 1 keeps the cut-out's size")
    if limit is not None and width * scale * height * scale > limit * 1e6:
        raise TooLarge(
            f"the cut-out of {width}x{height} scaled by {scale:g} has more than {limit:g} megapixels; give a smaller"
            " scale, or raise megapixel_limit (--max-megapixels)"
        )
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))


Window = tuple[slice, slice]


def _overlap(at: tuple[int, int], size: tuple[int, int], whole: tuple[int, int]) -> tuple[Window, Window]:
    """Rows and columns of the cut-out that lie on the background, and of the background under them."""
    theirs, ours = [], []
    for place, length, most in zip(at, size, whole, strict=True):
        first, last = max(place, 0), min(place + length, most)
        if first >= last:
            raise HarmonyError(
                f"the cut-out of {size[0]}x{size[1]} at {at[0]},{at[1]} lies outside the background of"
                f" {whole[0]}x{whole[1]}; give a place on it"
            )
        theirs.append(slice(first - place, last - place))
        ours.append(slice(first, last))
    return (theirs[1], theirs[0]), (ours[1], ours[0])


def _scaled(layer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H,W,4) float32, colours multiplied by alpha, resampled with the runtime's triangle filter."""
    layer = np.ascontiguousarray(layer, np.float32)
    return layer if layer.shape[1::-1] == size else resample(layer, size[1], size[0])


def _in_space_of(background: PictureFile, cutout: PictureFile, alpha: np.ndarray | None) -> np.ndarray:
    """The cut-out's colours, (H,W,3) float32 in [0,1], in the background's space; divided by `alpha` where given."""
    native = cutout.native
    if alpha is not None:
        native = _divided(native, alpha)
    grey = background.native.ndim == 2
    same = cutout.profile == background.profile and native.ndim == background.native.ndim
    highest = np.float32(np.iinfo(native.dtype).max)
    if same:
        colours = native if native.ndim == 3 else np.repeat(native[..., None], 3, axis=2)
        return colours.astype(np.float32) / highest
    spaces = None if grey or native.ndim == 2 else (_space(cutout.profile), _space(background.profile))
    if spaces is not None and spaces[0] is not None and spaces[1] is not None:
        return _converted(native.astype(np.float32) / highest, spaces[0], spaces[1])
    srgb = image_colours.seen(native, cutout.profile).astype(np.float32) / highest
    convert = image_colours.own_space(background.profile, grey=grey)
    return srgb if convert is None else convert(srgb)


def _divided(native: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    highest = np.iinfo(native.dtype).max
    share = np.maximum(alpha, np.float32(1e-6))
    plain = native / (share if native.ndim == 2 else share[..., None])
    return np.rint(plain).clip(0, highest).astype(native.dtype)


def _space(profile: bytes | None) -> MatrixSpace | None:
    if profile is None or image_colours.is_srgb(profile, 3):
        return image_colours.srgb_space()
    return matrix_space(profile)


def _converted(colours: np.ndarray, source: MatrixSpace, destination: MatrixSpace) -> np.ndarray:
    if source is destination:
        return colours
    linear = source.linear(colours.reshape(-1, 3)) @ source.to_xyz @ np.linalg.inv(destination.to_xyz)
    return destination.stored(linear).reshape(colours.shape).astype(np.float32)


def _laid_over(background: PictureFile, layer: np.ndarray, share: np.ndarray, ours: Window) -> PictureFile:
    native, highest = background.native.copy(), np.iinfo(background.native.dtype).max
    amount = layer[..., 3:].clip(0, 1)
    under = native[ours].astype(np.float32)
    colours = layer[..., :3] * np.float32(highest)
    if native.ndim == 2:
        amount, colours = amount[..., 0], colours[..., 0]
    alpha = background.alpha
    if alpha is None:
        over = colours + under * (1 - amount)
    else:
        alpha = alpha.copy()
        top = np.iinfo(alpha.dtype).max
        shown = alpha[ours].astype(np.float32) / top
        total = layer[..., 3].clip(0, 1) + shown * (1 - layer[..., 3].clip(0, 1))
        lower = (shown if native.ndim == 2 else shown[..., None]) * (1 - amount)
        over = (colours + under * lower) / np.maximum(total if native.ndim == 2 else total[..., None], 1e-6)
        alpha[ours] = np.where(share > 0, np.rint(total * top), alpha[ours]).astype(alpha.dtype)
    pasted = np.floor(over + np.float32(0.5)).clip(0, highest).astype(native.dtype)
    touched = share > 0
    native[ours] = np.where(touched if native.ndim == 2 else touched[..., None], pasted, native[ours])
    rgb = native if native.dtype == np.uint8 and native.ndim == 3 else None
    if rgb is None or background.rgb is not background.native:
        rgb = image_colours.to_8_bits(image_colours.seen(native, background.profile))
    return dataclasses.replace(background, native=native, rgb=rgb, alpha=alpha)


def _notes(cutout: PictureFile, background: PictureFile) -> list[str]:
    notes = []
    if background.native.ndim == 2 and cutout.native.ndim == 3:
        notes.append("the background is grey: the cut-out becomes grey as well")
    if cutout.bits > background.bits:
        notes.append(f"the composite has the background's {background.bits} bits, of the cut-out's {cutout.bits}")
    return notes


def mask_picture(mask: MaskFile) -> PictureFile:
    """A mask as a picture to write: grey, 8 bits."""
    return PictureFile(rgb=np.repeat(mask.values[..., None], 3, axis=2), native=mask.values)
