"""Conversion of callers' composites to what the runtime works on, and of results back to the caller's type."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image
from PIL.ImageCms import PyCMSError

from harmonyrt.common import HarmonyError, HarmonyNote
from harmonyrt.common.errors import TooLarge
from harmonyrt.runtime.caller import warn
from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images.colours import FromSrgb, to_8_bits
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT

_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
PICTURE_MODES = ("RGB", "RGBA", "L", "LA", *_DEEP_GREY)


Layered = Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Picture:
    """A composite as the runtime works on it. Its arrays may be views of the caller's data and are never written to.

    Attributes:
        rgb: height x width x 3, uint8 or uint16, sRGB: what the network gets.
        restore: turns a harmonized copy of `own` into the caller's type, alpha included.
        own: the pixels that are changed, height x width x 3, uint8 or uint16, in the picture's own space; `rgb` itself
            where that is sRGB.
        from_srgb: from sRGB to the space of `own`; None where they are the same.
        alpha: height x width, uint8, 255 = opaque; None for a picture without transparency.
        profile: the ICC profile of `own` where that is in colours; None: sRGB, or grey.
        as_layer: turns colours like `own` and an alpha, height x width, uint8, into a picture of the caller's type.
    """

    rgb: np.ndarray
    restore: Callable[[np.ndarray], Any]
    own: np.ndarray
    from_srgb: FromSrgb | None = None
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    as_layer: Layered | None = None


@runtime_checkable
class IsComposite(Protocol):
    """What converts itself for the runtime, such as :class:`harmonyrt.runtime.images.pictures.PictureFile`."""

    def as_composite(self) -> Picture:
        """Return the composite that the runtime works on."""
        ...


def read_picture(composite: Any, megapixel_limit: float | None = MEGAPIXEL_LIMIT) -> Picture:
    """Convert a composite for the runtime.

    Args:
        composite: array, height x width x 3 (or 4: alpha is kept), uint8 or uint16 of either byte order; a PIL image
            of mode RGB, RGBA, L, LA or I;16; or an object with `as_composite`, such as a picture file.
        megapixel_limit: refuse larger pictures; None for no limit.

    Raises:
        HarmonyError: another type, shape or mode, an empty or too large picture.
    """
    if isinstance(composite, IsComposite):
        picture = composite.as_composite()
        check_size(picture.own.shape[1], picture.own.shape[0], megapixel_limit)
        return picture
    if isinstance(composite, Image.Image):
        check_size(composite.width, composite.height, megapixel_limit)
        return _read_pil(composite)
    if not isinstance(composite, np.ndarray):
        raise HarmonyError(_other_type(composite))
    if composite.ndim != 3 or composite.shape[2] not in (3, 4):
        raise HarmonyError(
            f"the composite has shape {composite.shape}; give height x width x 3 (RGB) or x 4 (RGB and alpha)"
        )
    check_size(composite.shape[1], composite.shape[0], megapixel_limit)
    if composite.dtype.kind != "u" or composite.dtype.itemsize > 2:
        raise HarmonyError(f"the composite has dtype {composite.dtype}; {_dtype_advice(composite)}")
    rgb = np.ascontiguousarray(composite[..., :3], composite.dtype.newbyteorder("="))

    def restore(result: np.ndarray) -> np.ndarray:
        if composite.shape[2] == 4:
            result = np.concatenate([result, composite[..., 3:]], axis=2)
        return result.astype(composite.dtype, copy=False)

    def as_layer(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        return np.dstack([colours, of_depth(alpha, colours.dtype)]).astype(composite.dtype, copy=False)

    alpha = composite[..., 3].astype(rgb.dtype) if composite.shape[2] == 4 else None
    return Picture(rgb, restore, rgb, alpha=None if alpha is None else to_8_bits(alpha), as_layer=as_layer)


def of_depth(levels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """8-bit levels as 8 or 16 bits."""
    return levels if dtype == np.uint8 else levels.astype(np.uint16) * np.uint16(257)


def _other_type(composite: Any) -> str:
    kind = type(composite).__name__
    if isinstance(composite, (str, bytes, bytearray, os.PathLike, io.IOBase)):
        return (
            f"the composite is a {kind}; harmonize() takes pixels, not files: read it with"
            " harmonyrt.runtime.images.pictures.read_picture_file, or open it with PIL.Image.open"
        )
    if hasattr(composite, "__cuda_array_interface__"):
        return (
            f"the composite is a {kind} in a GPU's memory: harmonize_on_device() takes it there, or copy it to the host"
        )
    return f"the composite is a {kind}; give a uint8 or uint16 array of height x width x 3 or a PIL image"


def _dtype_advice(composite: np.ndarray) -> str:
    """What would do the picture no harm: scaling by a guessed range might."""
    if composite.dtype.kind == "f":
        return "give uint8 from 0 to 255 (for 0..1: times 255, rounded, clipped) or uint16 from 0 to 65535"
    if composite.dtype.kind == "i" or composite.dtype.kind == "u":
        low, high = int(composite.min()), int(composite.max())
        if low >= 0 and high <= 255:
            return f"its values go from {low} to {high}: give them as uint8, with .astype(numpy.uint8)"
        if low >= 0 and high <= 65535:
            return f"its values go from {low} to {high}: scale them to 0..65535 and give them as uint16"
        return f"its values go from {low} to {high}: scale them to 0..255 as uint8, or 0..65535 as uint16"
    return "give uint8 from 0 to 255 or uint16 from 0 to 65535"


_PIL_ADVICE = {
    "P": "its colours are a palette; .convert('RGB') or, with transparency, .convert('RGBA') gives what it shows",
    "PA": "its colours are a palette; .convert('RGBA') gives what it shows",
    "1": "it has one bit per pixel; .convert('L') gives what it shows",
    "CMYK": "print colours; convert it by its own profile with PIL.ImageCms.profileToProfile(..., outputMode='RGB'),"
    " or read the file with harmonyrt.runtime.images.pictures.read_picture_file",
    "RGBX": "its fourth channel is padding; .convert('RGB') leaves it out",
    "RGBa": "its colours are multiplied by alpha; .convert('RGBA') undoes that",
    "La": "its grey is multiplied by alpha; .convert('LA') undoes that",
    "I": "32-bit integers; scale them to 0..65535 and give mode I;16, since .convert('RGB') would cut them off at 255",
    "F": "floats; scale them to 0..65535 and give mode I;16, since .convert('RGB') would cut them off at 255",
}


def _read_pil(composite: Image.Image) -> Picture:
    mode = composite.mode
    if mode not in PICTURE_MODES:
        advice = _PIL_ADVICE.get(mode, "convert it to RGB with a program that knows its colours")
        raise HarmonyError(f"the composite is a PIL image of mode {mode}; {advice}")
    try:
        composite.load()
        info, exif = dict(composite.info), composite.getexif().tobytes() if "exif" not in composite.info else b""
    except (OSError, SyntaxError) as error:  # PIL decodes when the pixels are first asked for
        raise HarmonyError(f"the composite cannot be decoded ({error}); the file is damaged or cut short") from None
    if len(exif) > len(Image.Exif().tobytes()):  # of a TIFF, whose tags are not in `info`
        info["exif"] = exif
    deep = mode in _DEEP_GREY
    grey = deep or mode in ("L", "LA")

    def restore(result: np.ndarray) -> Image.Image:
        picture = Image.fromarray(np.ascontiguousarray(result[..., 0]) if grey else result)
        if mode in ("RGBA", "LA"):
            picture.putalpha(composite.getchannel("A"))
        picture.info = info
        return picture if picture.mode == mode or not deep else picture.convert(mode)

    def as_layer(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
        if deep:
            raise HarmonyError(
                f"PIL has no {mode} with alpha for a layer; read the file with read_picture_file instead"
            )
        picture = Image.fromarray(np.ascontiguousarray(colours[..., 0]) if grey else colours)
        picture.putalpha(Image.fromarray(alpha))
        picture.info = {key: value for key, value in info.items() if key != "transparency"}
        return picture

    pixels = np.asarray(composite.getchannel("L") if mode == "LA" else composite)
    if mode == "RGBA":
        pixels = pixels[..., :3]
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    profile = _usable(info.get("icc_profile"), pixels)
    return picture_of(pixels, profile, restore, _alpha_of(composite), as_layer=as_layer)


def _alpha_of(composite: Image.Image) -> np.ndarray | None:
    """Alpha (H,W) uint8: a channel, or a colour that means transparency."""
    if composite.mode in ("RGBA", "LA"):
        return np.asarray(composite.getchannel("A"))
    if composite.mode in ("RGB", "L") and "transparency" in composite.info:
        return np.asarray(composite.convert("RGBA").getchannel("A"))
    return None


def _usable(profile: bytes | None, pixels: np.ndarray) -> bytes | None:
    """The profile if colours can be converted by it there and back; else None, with a note."""
    if not profile:
        return None
    try:
        if image_colours.has_way_back(profile, 1 if pixels.ndim == 2 else 3):
            return profile
        what = "leads to sRGB and not back"
    except PyCMSError:
        what = "does not fit its pixels"
    warn(f"the composite's colour profile {what}: the network sees its colours as sRGB", HarmonyNote)
    return None


def picture_of(
    native: np.ndarray,
    profile: bytes | None,
    restore: Callable[[np.ndarray], Any],
    alpha: np.ndarray | None = None,
    rgb: np.ndarray | None = None,
    as_layer: Layered | None = None,
) -> Picture:
    """A picture in its own colours.

    Args:
        native: (H,W) grey or (H,W,3) RGB, uint8 or uint16.
        profile: the ICC profile of `native`, which fits it; None: sRGB.
        restore: gets a harmonized (H,W,3); of a grey picture the three channels are equal.
        alpha: (H,W) uint8, or None.
        rgb: `native` in sRGB and of its type, where that is known already.
        as_layer: as in :class:`Picture`.
    """
    from_srgb = image_colours.own_space(profile, grey=native.ndim == 2)
    if from_srgb is None:
        return Picture(native, restore, native, alpha=alpha, as_layer=as_layer)
    own = np.repeat(native[..., None], 3, axis=2) if native.ndim == 2 else native
    seen = image_colours.seen(native, profile) if rgb is None else rgb
    return Picture(seen, restore, own, from_srgb, alpha, None if native.ndim == 2 else profile, as_layer)


def check_size(width: int, height: int, limit: float | None) -> None:
    """Refuse what is empty or above the limit, before it is decoded."""
    if width == 0 or height == 0:
        raise HarmonyError(f"the composite is empty ({width}x{height}); give a picture with at least one pixel")
    if limit is not None and width * height > limit * 1e6:
        raise TooLarge(
            f"the composite has {width * height / 1e6:.0f} megapixels ({width}x{height}), the limit is {limit:g};"
            " raise it with megapixel_limit (--max-megapixels) or give a smaller picture"
        )
