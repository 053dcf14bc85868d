"""Colour profiles: a picture's own colours as sRGB for the network, and colours of the network back in its own space.

Little CMS does the arithmetic, through Pillow, in 8 bits and with relative colorimetric intent: what both spaces can
show stays as it is.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_LATTICE = np.linspace(0, 255, 6).round().astype(np.uint8)


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
        colours = np.stack(np.meshgrid(_LATTICE, _LATTICE, _LATTICE), -1).reshape(1, -1, 3)
        unchanged = colours
    return int(np.abs(to_srgb(colours, profile).astype(int) - unchanged).max()) <= 1


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels (H,W), (H,W,3) or CMYK (H,W,4), uint8, in the space of `profile` -> (H,W,3) uint8 sRGB.

    Raises:
        ImageCms.PyCMSError: the profile is damaged, or belongs to pictures of another kind.
    """
    mode = {2: "L", 3: "RGB"}[pixels.ndim] if pixels.shape[-1] != 4 or pixels.ndim == 2 else "CMYK"
    return _transformed(pixels, mode, _opened(profile), ImageCms.createProfile("sRGB"))


def from_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels (H,W,3) uint8 in sRGB -> the same in the RGB space of `profile`."""
    return _transformed(pixels, "RGB", ImageCms.createProfile("sRGB"), _opened(profile))


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
