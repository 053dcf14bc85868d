"""Picture files: read upright and in sRGB for the network, written back in their own colours, depth and transparency.

    picture = read_picture_file("composite.png")
    harmonized = harmonizer.harmonize(picture, read_mask_file("mask.png"))
    write_picture_file(harmonized, "harmonized.png")

The network sees sRGB. Its edit is converted to the picture's own space in floats, so that fine gradations
stay, and pixels which it left alone keep every bit that the file had, whatever their depth and profile. `docs/cli.md`
says what is read, what is written and what is refused.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.ImageCms import PyCMSError

from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images.colours import to_8_bits
from harmonyrt.runtime.images.composites import Picture, of_depth, picture_of
from harmonyrt.runtime.images.decode import decode
from harmonyrt.runtime.images.masks import MEGAPIXEL_LIMIT
from harmonyrt.runtime.images.opening import Source

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class PictureFile:
    """A picture that was read, upright.

    Attributes:
        rgb: (H,W,3) uint8 sRGB: what the network and people see.
        native: (H,W,3), or (H,W) when the file is grey: uint8 or uint16, in the file's own colour space.
        alpha: (H,W) of native's type, or None.
        profile: the ICC profile of `native`, or None: sRGB.
        exif: the file's EXIF without its orientation, which has been applied.
        dpi: dots per inch, where the file gives them.
        file_format: Pillow's name, for example ``"JPEG"``.
        mode: Pillow's name of the stored pixels, for example ``"CMYK"``.
        notes: sentences for the user about what could not be kept.
        chunks: PNG chunks that say more of the colours than a profile can (cICP, mDCV, cLLI).
        orientation: EXIF's, 1 to 8, which has been applied.
    """

    rgb: np.ndarray
    native: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    file_format: str = "PNG"
    mode: str = "RGB"
    notes: tuple[str, ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def bits(self) -> int:
        """Bits per channel, 8 or 16."""
        return self.native.dtype.itemsize * 8

    def as_composite(self) -> Picture:
        """What :class:`harmonyrt.runtime.Harmonizer` works on; its result is a picture file again."""

        def restore(result: np.ndarray) -> PictureFile:
            native = np.ascontiguousarray(result[..., 0]) if self.native.ndim == 2 else result
            rgb = native if self.native is self.rgb else to_8_bits(image_colours.seen(native, self.profile))
            return dataclasses.replace(self, rgb=rgb, native=native)

        def as_layer(colours: np.ndarray, alpha: np.ndarray) -> PictureFile:
            return dataclasses.replace(restore(colours), alpha=of_depth(alpha, colours.dtype))

        alpha = None if self.alpha is None else to_8_bits(self.alpha)
        return picture_of(self.native, self.profile, restore, alpha, self.rgb if self.bits == 8 else None, as_layer)

    def with_rgb(self, rgb: np.ndarray) -> PictureFile:
        """The same picture with other colours, for changes that were made elsewhere, in 8 bits.

        Args:
            rgb: (H,W,3) uint8 sRGB. Where it equals :attr:`rgb`, `native` stays as it is; elsewhere `native` moves by
                the difference that the change makes in its own space. A grey picture stays grey.
        """
        if self.native is self.rgb:
            return dataclasses.replace(self, rgb=rgb, native=rgb)
        native = self.native.copy()
        highest = np.iinfo(native.dtype).max
        own_space = image_colours.own_space(self.profile, grey=native.ndim == 2)
        for start in range(0, len(native), _ROWS_AT_ONCE):  # block by block: the differences take four times the space
            rows = slice(start, start + _ROWS_AT_ONCE)
            changed = (rgb[rows] != self.rgb[rows]).any(axis=2)
            if changed.any():
                after, before = (p[rows][changed].astype(np.float32) / 255 for p in (rgb, self.rgb))
                difference = after - before if own_space is None else own_space(after) - own_space(before)
                moved = native[rows][changed] + (difference[:, 0] if native.ndim == 2 else difference) * highest
                native[rows][changed] = np.rint(moved).clip(0, highest).astype(native.dtype)
        return dataclasses.replace(self, rgb=rgb, native=native)


def read_picture_file(
    source: Source, *, name: str | None = None, max_megapixels: float = MEGAPIXEL_LIMIT
) -> PictureFile:
    """Read a picture.

    Args:
        source: a path, the bytes of a file, or one that is open for reading bytes.
        name: how messages name it; the path when not given.
        max_megapixels: larger pictures are refused before they are decoded.

    Raises:
        HarmonyError: missing, unreadable, empty, damaged, not a picture, an animation, or too large.
    """
    where = name_of(source) if name is None else name
    stored = decode(source, where, max_megapixels)
    pixels, profile, notes = stored.pixels, stored.profile, list(stored.notes)
    if stored.mode == "CMYK":
        pixels, note = _cmyk_as_rgb(pixels, profile, where)
        profile = None
        notes.append(note)
    channels = 1 if pixels.shape[2] <= 2 else 3
    alpha = np.ascontiguousarray(pixels[..., -1]) if pixels.shape[2] in (2, 4) else None
    native = np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels[..., :3])
    stored_in, (native, profile, profile_notes) = native, _with_way_back(native, profile, where)
    return PictureFile(
        rgb=to_8_bits(image_colours.seen(native, profile)),
        native=native,
        alpha=alpha,
        profile=profile,
        exif=stored.exif,
        dpi=stored.dpi,
        file_format=stored.file_format,
        mode=stored.mode,
        notes=(*notes, *profile_notes),
        chunks=stored.chunks if native is stored_in and stored.mode != "CMYK" else (),
        orientation=stored.orientation,
    )


def name_of(source: Source, otherwise: str = "the picture") -> str:
    """How messages name what is read: its path, an open file's own name, or `otherwise`."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    opened = getattr(source, "name", None)  # of a file
    return opened if isinstance(opened, str) else otherwise


def _cmyk_as_rgb(stored: np.ndarray, profile: bytes | None, where: str) -> tuple[np.ndarray, str]:
    if profile is not None:
        try:
            return image_colours.to_srgb(stored, profile), f"{where} is CMYK: converted to sRGB by its colour profile"
        except PyCMSError:
            pass
    cmyk = Image.frombytes("CMYK", (stored.shape[1], stored.shape[0]), stored.tobytes())
    return np.asarray(cmyk.convert("RGB")), f"{where} is CMYK without a usable colour profile: converted to RGB plainly"


def _with_way_back(native: np.ndarray, profile: bytes | None, where: str) -> tuple[np.ndarray, bytes | None, list[str]]:
    """Pixels whose profile leads to sRGB and back, that profile, notes. Other profiles are used or dropped here."""
    if profile is None:
        return native, None, []
    try:
        if image_colours.has_way_back(profile, 1 if native.ndim == 2 else 3):
            return native, profile, []
        depth = " with 8 bits per channel" if native.dtype == np.uint16 else ""
        note = f"the colour profile of {where} leads to sRGB and not back: the picture becomes sRGB{depth}"
        return image_colours.to_srgb(to_8_bits(native), profile), None, [note]
    except PyCMSError:
        return native, None, [f"the colour profile of {where} does not fit its pixels: sRGB is assumed"]
