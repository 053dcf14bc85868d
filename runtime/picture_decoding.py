"""From a picture file to upright pixels as they are stored: what is opened, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import deep_pictures

READABLE = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read. A list, since some of Pillow's other readers start programs."""

_ORIENTATION = 0x0112
_SUB_DIRECTORIES = (0x8769, 0x8825)  # EXIF's own tags, and GPS
_TIFF_TAGS_ABOUT_THE_PICTURE = (270, 271, 272, 305, 306, 315, 33432, *_SUB_DIRECTORIES)
_UPRIGHT = {  # EXIF orientation: how the stored rows and columns become the upright picture
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_DAMAGE = (  # what Pillow raises about files that are not as they should be
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip
_MOST_DPI = 100_000  # more is damage
_pillow_limit = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        pixels: (H,W,C), upright: grey, grey and alpha, RGB, RGBA or CMYK; uint8, or uint16 where the file has 16 bits.
        profile: the ICC profile, if any.
        exif: EXIF without what described the stored pixels, if any.
        dpi: dots per inch, if any.
        file_format: Pillow's name of the format.
        mode: Pillow's name of the kind of pixels.
        notes: sentences for the user.
    """

    pixels: np.ndarray
    profile: bytes | None
    exif: bytes | None
    dpi: tuple[float, float] | None
    file_format: str
    mode: str
    notes: tuple[str, ...]


def decode(source: str | Path | bytes, where: str, max_megapixels: float) -> Stored:
    """Read a file, or the bytes of one, which messages name `where`.

    Raises:
        HarmonyError: missing, unreadable, empty, damaged, not a picture, an animation, or too large.
    """
    with _opened(source, where, max_megapixels) as (image, file):
        mode = image.mode
        pixels = _decoded(image, file, where)
        exif, orientation, notes = _exif_of(image, where)
        upright = np.ascontiguousarray(_UPRIGHT.get(orientation, lambda a: a)(pixels))
        return Stored(
            pixels=upright,
            profile=image.info.get("icc_profile") or None,
            exif=exif,
            dpi=_plain_dpi(image.info.get("dpi")),
            file_format="JPEG" if image.format == "MPO" else str(image.format),
            mode=mode,
            notes=tuple(notes),
        )


@contextlib.contextmanager
def _opened(
    source: str | Path | bytes, where: str, max_megapixels: float
) -> Iterator[tuple[ImageFile.ImageFile, BinaryIO]]:
    """The picture, recognised and found small enough but not decoded yet, and its file."""
    with _file(source, where) as file:
        if not file.read(1):
            raise HarmonyError(f"{where} is empty (0 bytes); give a picture such as PNG, JPEG, TIFF or WebP")
        file.seek(0)
        try:
            with _pillow_limit:  # ours is checked below, and is the one that a user can set
                before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    image = Image.open(file, formats=_known_to_pillow())
                finally:
                    Image.MAX_IMAGE_PIXELS = before
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise HarmonyError(
                    f"{where} has {width * height / 1e6:.3g} megapixels ({width} x {height}), more than the limit of"
                    f" {max_megapixels:g}; scale it down, or raise the limit with --max-megapixels"
                )
            frames = 1 if image.format in ("MPO", "TIFF") else getattr(image, "n_frames", 1)
            if frames > 1:
                raise HarmonyError(f"{where} is an animation of {frames} frames; give it frame by frame")
            yield image, file
        except HarmonyError:
            raise
        except UnidentifiedImageError:
            raise HarmonyError(
                f"{where} is not a picture of a known format; give PNG, JPEG, TIFF, WebP, AVIF, BMP, GIF or PPM"
            ) from None
        except MemoryError:
            raise WorkFailed(f"{where} does not fit into this machine's memory; scale it down") from None
        except _DAMAGE as error:
            raise HarmonyError(
                f"{where} is damaged or cut short ({first_line(error)}); give a picture that opens elsewhere"
            ) from None


def _known_to_pillow() -> list[str]:
    """Pillow's common formats and some more, where this Pillow has them; loading all would cost a tenth of a second."""
    Image.preinit()
    for plugin in ("WebP", "Jpeg2K", "Avif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return [kind for kind in READABLE if kind in Image.OPEN]


@contextlib.contextmanager
def _file(source: str | Path | bytes, where: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise HarmonyError(f"{where} does not exist; check the path") from None
    except IsADirectoryError:
        raise HarmonyError(f"{where} is a folder; give a picture file") from None
    except PermissionError:
        if os.path.isdir(source):  # what Windows says about folders
            raise HarmonyError(f"{where} is a folder; give a picture file") from None
        raise HarmonyError(f"{where} may not be read; allow it with chmod +r, or copy the file") from None
    except (OSError, ValueError) as error:
        raise HarmonyError(f"{where} cannot be opened ({first_line(error)}); check the path") from None
    with file:
        yield file


def _decoded(image: ImageFile.ImageFile, file: BinaryIO, where: str) -> np.ndarray:
    """(H,W,C) as stored: grey, grey and alpha, RGB, RGBA, or CMYK; uint8, or uint16 where the file has it."""
    if image.format == "TIFF" and _is_planar_16_bit(image):
        raise HarmonyError(f"{where} keeps 16-bit colours in separate planes, uncompressed; save it interleaved")
    deep = deep_pictures.decode(image, file)
    if deep is not None:
        return deep
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise HarmonyError(f"{where} has values outside 16 bits; save it with 8 or 16 bits per channel")
        return values.astype(np.uint16)[..., None]
    keyed = "transparency" in image.info
    wanted = {
        "1": "L",
        "L": "LA" if keyed else "L",
        "P": "RGBA" if keyed else "RGB",
        "RGB": "RGBA" if keyed else "RGB",
        "PA": "RGBA",
        "La": "LA",
        "LA": "LA",
        "RGBa": "RGBA",
        "RGBA": "RGBA",
        "RGBX": "RGB",
        "YCbCr": "RGB",
        "CMYK": "CMYK",
    }.get(image.mode)
    if wanted is None:
        raise HarmonyError(f"{where} has pixels of the kind {image.mode}; save it as RGB with 8 or 16 bits per channel")
    image.load()
    pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _is_planar_16_bit(image: ImageFile.ImageFile) -> bool:
    """Pillow misreads these without an error."""
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    return tags.get(284) == 2 and tags.get(259, 1) == 1 and 16 in tags.get(258, ()) and len(tags.get(258, ())) > 1


def _exif_of(image: ImageFile.ImageFile, where: str) -> tuple[bytes | None, int, list[str]]:
    """EXIF without what described the stored pixels; the orientation; notes."""
    try:
        found = image.getexif()
        orientation = int(found.get(_ORIENTATION, 1))
        kept = Image.Exif()
        for tag, value in found.items():
            if tag != _ORIENTATION and (image.format != "TIFF" or tag in _TIFF_TAGS_ABOUT_THE_PICTURE):
                kept[tag] = found.get_ifd(tag) if tag in _SUB_DIRECTORIES else value
        return (kept.tobytes() if len(kept) else None), orientation, []
    except (*_DAMAGE, AttributeError, ArithmeticError):
        return None, 1, [f"the EXIF data of {where} cannot be read and are left out"]


def _plain_dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < _MOST_DPI and 0 < down < _MOST_DPI else None


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a sentence."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:160]
