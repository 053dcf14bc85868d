"""Writing pictures: which formats, what each can hold, and files that appear whole or not at all."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import written_whole
from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images import deep as deep_images
from harmonyrt.runtime.images import jpeg_strips
from harmonyrt.runtime.images.colours import to_8_bits
from harmonyrt.runtime.images.opening import first_line
from harmonyrt.runtime.images.pictures import PictureFile

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
"""Format by suffix of the output."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
}
LAYERED = ("PNG", "TIFF", "WEBP")
"""Formats with transparency."""
_WITH_QUALITY = ("JPEG", "WEBP")
_WITH_16_BITS = ("PNG", "TIFF")
_PNG_HEADER = 33  # bytes: signature and IHDR


def format_for(path: str | Path) -> str:
    """The format that a suffix asks for.

    Raises:
        HarmonyError: a suffix that is not written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        given = f"the suffix {suffix}" if suffix else "no suffix"
        raise HarmonyError(f"{path} has {given}; pictures are written as .png, .jpg, .tif, .webp or .bmp")
    return WRITABLE[suffix]


def check_writable(path: str | Path) -> None:
    """Say early what :func:`write_picture_file` would say late.

    Raises:
        HarmonyError: unknown suffix, a folder of that name, or a missing or read-only folder.
    """
    path = Path(path)
    format_for(path)
    check_folder(path)


def check_folder(path: str | Path) -> None:
    """Refuse a path at which no file can be written.

    Raises:
        HarmonyError: a folder of that name, or a missing or read-only folder.
    """
    path = Path(path)
    if path.is_dir():
        raise HarmonyError(f"{path} is a folder; name the output file")
    folder = path.parent if not path.is_symlink() else Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise HarmonyError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise HarmonyError(f"cannot write {path}: the folder {folder} is read-only; choose another output")


def check_layer(path: str | Path) -> None:
    """Refuse a format without transparency.

    Raises:
        HarmonyError: it has none.
    """
    if format_for(path) not in LAYERED:
        raise HarmonyError(f"{path}: {format_for(path)} has no transparency for a layer; choose .png, .tif or .webp")


def write_picture_file(picture: PictureFile, path: str | os.PathLike) -> list[str]:
    """Write a picture in the format that the suffix says; on any error nothing is left behind.

    Returns:
        Sentences for the user about what the format could not hold.

    Raises:
        HarmonyError: unknown suffix, an unwritable path, or alpha in a format that has none.
        WorkFailed: the disk is full.
    """
    if not isinstance(picture, PictureFile):
        raise HarmonyError(
            f"the picture is a {type(picture).__name__}; give what read_picture_file() returned, or"
            " harmonize() made of it (PIL writes arrays and its own images)"
        )
    if not isinstance(path, (str, os.PathLike)):
        raise HarmonyError(f"{path!r} was given as the output; give a path")
    path = Path(path)
    file_format = format_for(path)
    with written_whole(path) as scratch:
        try:
            with open(scratch, "wb") as file:
                return save(picture, file, file_format, str(path))
        except OSError as error:
            if error.errno is None:  # Pillow's own, about the format
                raise HarmonyError(f"cannot write {path} as {file_format} ({error}); choose .png") from None
            raise WorkFailed(f"cannot write {path}: {error.strerror}; make room or choose another output") from None


def save(picture: PictureFile, file: BinaryIO, file_format: str, where: str, quality: int | None = None) -> list[str]:
    """Write into an open file.

    Args:
        picture: what to write.
        file: open for writing bytes.
        file_format: one of the values of :data:`WRITABLE`.
        where: how messages name it.
        quality: of a JPEG or WebP, 1 to 100; WebP is lossless without one. None: JPEG 95.

    Returns:
        Sentences for the user about what the format could not hold.

    Raises:
        HarmonyError: as :func:`write_picture_file`, or a quality that the format does not take.
    """
    more = _quality(file_format, quality)
    picture, notes = _for_format(picture, file_format, where)
    native, alpha = picture.native, picture.alpha
    if native.dtype == np.uint16 and file_format not in _WITH_16_BITS:
        notes.append(f"{where} holds 8 of the picture's 16 bits; choose .png or .tif to keep them all")
        native, alpha = to_8_bits(native), None if alpha is None else to_8_bits(alpha)
    if alpha is not None and file_format not in LAYERED:
        if alpha.min() < np.iinfo(alpha.dtype).max:
            raise HarmonyError(f"cannot write {where}: {file_format} has no transparency; choose .png, .tif or .webp")
        alpha = None
    notes += _meaning_lost(picture, file_format, where)
    layers = native if native.ndim == 3 else native[..., None]
    if alpha is not None:
        layers = np.concatenate([layers, alpha[..., None]], axis=2)
    if native.dtype == np.uint16:
        if file_format == "PNG":
            deep_images.encode_png(file, layers, picture.profile, picture.exif, picture.dpi, picture.chunks)
        else:
            deep_images.encode_tiff(file, layers, picture.profile, picture.exif, picture.dpi)
        return notes
    pixels = layers[..., 0] if layers.shape[2] == 1 else layers
    extra = {"icc_profile": picture.profile, "exif": picture.exif, "dpi": picture.dpi}
    if file_format == "BMP":
        extra.pop("icc_profile")
        extra.pop("exif")
    extra = {key: value for key, value in extra.items() if value}
    options = {**_SAVE_OPTIONS[file_format], **more, **extra}
    if file_format == "TIFF" and picture.exif:
        options.pop("compression")  # with one, Pillow writes through libtiff, which loses EXIF's own directory
    try:
        if file_format == "JPEG" and jpeg_strips.save(pixels, file, {**_SAVE_OPTIONS["JPEG"], **more}, extra):
            return notes
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if file_format == "PNG" and picture.chunks:
            whole = io.BytesIO()
            image.save(whole, file_format, **options)
            file.write(_with_chunks(whole.getvalue(), picture.chunks))
        else:
            image.save(file, file_format, **options)
    except (ValueError, SystemError, OverflowError, struct.error) as error:  # sides beyond the format's limit, mostly
        raise HarmonyError(f"cannot write {where} as {file_format} ({first_line(error)}); choose .png") from None
    return notes


def _quality(file_format: str, quality: int | None) -> dict[str, Any]:
    if quality is None:
        return {}
    if file_format not in _WITH_QUALITY:
        raise HarmonyError(f"a quality is for JPEG and WebP, and the output is {file_format}; leave it out")
    if not 1 <= quality <= 100:
        raise HarmonyError(f"the quality is {quality}; give 1 to 100")
    return {"quality": quality, "lossless": False} if file_format == "WEBP" else {"quality": quality}


def _with_chunks(png: bytes, chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG with chunks behind its header; Pillow writes cICP, but not what belongs to it."""
    more = b"".join(deep_images.png_chunk(kind, data) for kind, data in chunks)
    return png[:_PNG_HEADER] + more + png[_PNG_HEADER:]


def _for_format(picture: PictureFile, file_format: str, where: str) -> tuple[PictureFile, list[str]]:
    """WebP has no grey, and a grey profile would not fit: such a picture is written in sRGB."""
    if file_format != "WEBP" or picture.native.ndim == 3 or picture.profile is None:
        return picture, []
    plain = dataclasses.replace(picture, native=picture.rgb, profile=None, alpha=_alpha_8(picture))
    return plain, [f"{where} holds colours only: the grey picture becomes sRGB"] if _shows(picture) else []


def _alpha_8(picture: PictureFile) -> np.ndarray | None:
    return None if picture.alpha is None else to_8_bits(picture.alpha)


def _meaning_lost(picture: PictureFile, file_format: str, where: str) -> list[str]:
    """Notes about colours that look different once the format cannot say what they mean."""
    notes = []
    if file_format == "BMP" and picture.profile is not None and _shows(picture):
        notes.append(f"{where} cannot hold the picture's colour profile and looks different without; choose .png")
    if file_format != "PNG" and picture.profile is None and any(kind == b"cICP" for kind, _ in picture.chunks):
        code = next(data for kind, data in picture.chunks if kind == b"cICP")
        if code[1:2] in (b"\x10", b"\x12"):
            notes.append(f"{where} cannot say that the picture is HDR and looks different; choose .png")
    return notes


def _shows(picture: PictureFile) -> bool:
    return not image_colours.is_srgb(picture.profile or b"", 1 if picture.native.ndim == 2 else 3)
