"""Colour profiles: a picture's own colours as sRGB for the network, and colours of the network back in its own space.

Little CMS, through Pillow, converts whole pictures in 8 bits, with relative colorimetric intent: what both spaces can
show stays as it is. An edit that goes into a picture is converted in floats, so that no steps of 8 bits come back:
exactly for profiles of primaries and curves, else between the points of a lattice that Little CMS converted.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from harmonyrt.runtime.images.colour_matrix import MatrixSpace, grey_curve, matrix_space

FromSrgb = Callable[[np.ndarray], np.ndarray]
"""From sRGB to another space: (…, 3) floats in [0, 1] -> float32 of the same shape."""

_LATTICE = np.linspace(0, 255, 6).round().astype(np.uint8)
_POINTS = 33  # of the lattice along each axis
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ROWS_AT_ONCE = 256


def is_srgb(profile: bytes, channels: int) -> bool:
    """Whether converting from `profile` to sRGB would move no colour by more than a rounding step.

    Measured on a lattice of colours, since names of profiles prove nothing.

    Args:
        profile: an ICC profile.
        channels: of the pictures: 1 for grey, 3 for RGB.

    Raises:
        ImageCms.PyCMSError: the profile is damaged, or belongs to pictures of another kind.
    """
    if channels == 1:
        colours = np.arange(256, dtype=np.uint8)[None]
        unchanged = np.repeat(colours[..., None], 3, axis=2)
    else:
        colours = _few_colours()
        unchanged = colours
    return int(np.abs(to_srgb(colours, profile).astype(int) - unchanged).max()) <= 1


def has_way_back(profile: bytes, channels: int) -> bool:
    """Whether colours can be converted from sRGB to `profile` as well; some profiles hold one direction only.

    Raises:
        ImageCms.PyCMSError: the profile is damaged, or belongs to pictures of another kind.
    """
    if is_srgb(profile, channels) or channels == 1:
        return True
    try:
        from_srgb(_few_colours(), profile)
    except ImageCms.PyCMSError:
        return False
    return True


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels (H,W), (H,W,3) or CMYK (H,W,4), uint8, in the space of `profile` -> (H,W,3) uint8 sRGB.

    Raises:
        ImageCms.PyCMSError: the profile is damaged, or belongs to pictures of another kind.
    """
    mode = {2: "L", 3: "RGB"}[pixels.ndim] if pixels.shape[-1] != 4 or pixels.ndim == 2 else "CMYK"
    return _transformed(pixels, mode, _opened(profile), ImageCms.createProfile("sRGB"))


def from_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels (H,W,3) uint8 in sRGB -> the same in the RGB space of `profile`.

    Raises:
        ImageCms.PyCMSError: the profile has no way back (see :func:`has_way_back`).
    """
    return _transformed(pixels, "RGB", ImageCms.createProfile("sRGB"), _opened(profile))


def seen(native: np.ndarray, profile: bytes | None) -> np.ndarray:
    """A picture as the network sees it: (H,W) or (H,W,3) in its own space -> (H,W,3) sRGB of the same type.

    uint16 keeps its depth, except for RGB profiles that are tables.
    """
    if native.ndim == 2:
        if profile is not None and not is_srgb(profile, 1):
            native = _grey_table(profile, native.dtype)[native]
        return np.repeat(native[..., None], 3, axis=2)
    if profile is None or is_srgb(profile, 3):
        return native
    space = matrix_space(profile) if native.dtype == np.uint16 else None
    if space is not None:
        return _deep_srgb(native, space)
    converted = to_srgb(to_8_bits(native), profile)
    return converted if native.dtype == np.uint8 else converted.astype(np.uint16) * np.uint16(257)


def own_space(profile: bytes | None, *, grey: bool) -> FromSrgb | None:
    """How colours get from sRGB to a picture's own space; None where that is sRGB. Grey pictures get equal channels.

    Args:
        profile: an ICC profile with a way back, or None: sRGB.
        grey: the picture is grey: brightness counts.
    """
    if grey:
        return _to_grey(profile)
    if profile is None or is_srgb(profile, 3):
        return None
    space = matrix_space(profile)
    return _to_matrix_space(space) if space is not None else _through_lattice(profile)


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """uint16 to uint8, rounded (65535 is 255, so a step is 257); uint8 stays as it is."""
    if values.dtype == np.uint8:
        return values
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        wide = values[start : start + _ROWS_AT_ONCE].astype(np.uint32)
        wide *= 255
        wide += 32895  # then the shift rounds: exactly (value + 128) // 257 for all 65536 values
        wide >>= 16
        result[start : start + _ROWS_AT_ONCE] = wide
    return result


@lru_cache(maxsize=1)
def srgb_space() -> MatrixSpace:
    """sRGB as three primaries and three curves."""
    space = matrix_space(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert space is not None
    return space


def _to_matrix_space(space: MatrixSpace) -> FromSrgb:
    srgb = srgb_space()
    primaries = srgb.to_xyz @ np.linalg.inv(space.to_xyz)

    def convert(colours: np.ndarray) -> np.ndarray:
        linear = srgb.linear(colours.reshape(-1, 3)) @ primaries
        return space.stored(linear).reshape(colours.shape).astype(np.float32)

    return convert


def _deep_srgb(native: np.ndarray, space: MatrixSpace) -> np.ndarray:
    """(H,W,3) uint16 in `space` -> uint16 sRGB, by tables of all 65536 values."""
    srgb = srgb_space()
    primaries = space.to_xyz @ np.linalg.inv(srgb.to_xyz)
    steps = np.linspace(0, 1, 65536)
    encoded = np.rint(srgb.stored(np.repeat(steps[:, None], 3, axis=1))[:, 0] * 65535).astype(np.uint16)
    result = np.empty_like(native)
    for start in range(0, len(native), _ROWS_AT_ONCE):
        rows = native[start : start + _ROWS_AT_ONCE]
        linear = np.stack([space.curves[c][rows[..., c]] for c in range(3)], axis=-1) @ primaries
        result[start : start + _ROWS_AT_ONCE] = encoded[np.rint(linear.clip(0, 1) * 65535).astype(np.uint16)]
    return result


def _through_lattice(profile: bytes) -> FromSrgb:
    """Between points that Little CMS converted: no steps, though the points themselves are rounded to 8 bits."""
    last = _POINTS - 1
    axis = np.linspace(0, 255, _POINTS).round().astype(np.uint8)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    table = from_srgb(points.reshape(1, -1, 3), profile).reshape(points.shape).astype(np.float32) / 255
    positions = axis / np.float32(255)

    def convert(colours: np.ndarray) -> np.ndarray:
        flat = colours.reshape(-1, 3)
        low = (np.searchsorted(positions, flat, side="right") - 1).clip(0, last - 1)
        share = ((flat - positions[low]) / (positions[low + 1] - positions[low])).clip(0, 1).astype(np.float32)
        total = np.zeros(flat.shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(np.array(corner) == 1, share, 1 - share), axis=1, keepdims=True)
            total += weight * table[tuple((low + corner).T)]
        return total.reshape(colours.shape)

    return convert


def _brightness(profile: bytes) -> np.ndarray:
    """sRGB brightness of grey values, both from 0 to 1, rising: 65536 of them, or 256 where Little CMS is asked."""
    curve = grey_curve(profile)
    if curve is not None:
        return srgb_space().stored(np.repeat(curve[:, None], 3, axis=1))[:, 1]
    return np.maximum.accumulate(to_srgb(np.arange(256, dtype=np.uint8)[None], profile)[0, :, 1] / 255)


def _grey_table(profile: bytes, dtype: np.dtype) -> np.ndarray:
    """sRGB brightness of every grey value, of `dtype`."""
    highest, known = np.iinfo(dtype).max, _brightness(profile)
    values = np.interp(np.linspace(0, 1, highest + 1), np.linspace(0, 1, len(known)), known)
    return np.rint(values * highest).astype(dtype)


def _to_grey(profile: bytes | None) -> FromSrgb:
    known = None if profile is None or is_srgb(profile, 1) else _brightness(profile)

    def convert(colours: np.ndarray) -> np.ndarray:
        luma = colours @ _LUMA
        if known is not None:
            luma = np.interp(luma, known, np.linspace(0, 1, len(known))).astype(np.float32)
        return np.repeat(luma[..., None], 3, axis=-1)

    return convert


def _few_colours() -> np.ndarray:
    return np.stack(np.meshgrid(_LATTICE, _LATTICE, _LATTICE), -1).reshape(1, -1, 3)


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except OSError as error:
        raise ImageCms.PyCMSError(str(error)) from None


def _transformed(pixels: np.ndarray, mode: str, source, destination) -> np.ndarray:
    transform = ImageCms.buildTransform(
        source, destination, mode, "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    image = Image.fromarray(np.ascontiguousarray(pixels)) if mode != "CMYK" else _cmyk(pixels)
    return np.asarray(ImageCms.applyTransform(image, transform))


def _cmyk(pixels: np.ndarray) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.frombytes("CMYK", (width, height), np.ascontiguousarray(pixels).tobytes())
