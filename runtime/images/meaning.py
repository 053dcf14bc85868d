"""What a file says about its colours other than by an ICC profile: converted to one, or a note where it cannot be."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile

from harmonyrt.runtime.images import file_structure, named_spaces
from harmonyrt.runtime.images.tiff_files import FirstPage

_ADOBE_RGB_FILE = "R03"  # DCF 2.0: an option file
_GAIN_MAPS = (b"hdrgm:", b"HDRGainMap", b"urn:iso:std:iso:ts:21496:-1")
_TIFF_PROFILE = 34675
_HDR_CHUNKS = (b"cICP", b"mDCV", b"cLLI")


@dataclass(frozen=True)
class Meaning:
    """The colours' ICC profile, PNG chunks that say the same or more, and sentences for the user."""

    profile: bytes | None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()


def meaning_of(
    image: ImageFile.ImageFile | None, page: FirstPage | None, file: BinaryIO, where: str, *, grey: bool
) -> Meaning:
    """What the colours of an open file mean.

    Args:
        image: as Pillow opened it; None for a TIFF that only `page` is known of.
        page: the first page of a TIFF.
        file: the file.
        where: how messages name it.
        grey: its pixels are grey, with or without alpha.
    """
    if image is None:
        profile = page.tags.get(_TIFF_PROFILE) if page is not None else None
        return Meaning(bytes(profile) if profile else None)
    profile = image.info.get("icc_profile") or None
    if image.format == "PNG":
        return _of_png(profile, file, where, grey)
    if image.format == "AVIF":
        return _of_avif(profile, file, where)
    notes = []
    if image.format in ("JPEG", "MPO"):
        notes += _further_pictures(image, where)
        if profile is None and _is_adobe_rgb(image):
            profile = named_spaces.adobe_rgb()
            notes.append(f"{where} is in Adobe RGB by its EXIF data (R03); the output carries a profile that says so")
    if image.format == "JPEG2000" and profile is None:
        profile = file_structure.jpeg2000_profile(file)
    return Meaning(profile, notes=tuple(notes))


def _of_png(profile: bytes | None, file: BinaryIO, where: str, grey: bool) -> Meaning:
    """In the order of PNG 3rd edition, 4.3: cICP, iCCP, sRGB, gAMA with cHRM."""
    found = file_structure.png_chunks(file)
    chunks = tuple((kind, found[kind]) for kind in _HDR_CHUNKS if kind in found)
    if len(found.get(b"cICP", b"")) == 4:
        made, unknown = named_spaces.of_code_points(found[b"cICP"][0], found[b"cICP"][1], grey=grey)
        if unknown:
            note = f"{where} says that it is {unknown}, which the network sees as if it were sRGB"
            return Meaning(None, chunks, (note,))
        return Meaning(made, chunks)
    if profile is None and b"sRGB" not in found:
        gamma = struct.unpack(">I", found[b"gAMA"])[0] / 100000 if len(found.get(b"gAMA", b"")) == 4 else None
        whites = found.get(b"cHRM", b"")
        points = tuple(v / 100000 for v in struct.unpack(">8I", whites)) if len(whites) == 32 else None
        profile = named_spaces.of_gamma(gamma, points, grey=grey)
    return Meaning(profile, chunks)


def _of_avif(profile: bytes | None, file: BinaryIO, where: str) -> Meaning:
    header, notes = file_structure.avif_header(file), []
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    if header.bits > 8:
        notes.append(f"{where} holds {header.bits} bits per channel, of which 8 are read")
    if header.gain_map:
        notes.append(_gain_map_note(where))
    if profile is None and header.code_points is not None:
        profile, unknown = named_spaces.of_code_points(*header.code_points, grey=False)
        if unknown:
            notes.append(f"{where} says that it is {unknown}, which the network sees as if it were sRGB")
            if max(header.code_points) < 256:
                chunks = ((b"cICP", bytes([*header.code_points, 0, 1])),)
    return Meaning(profile, chunks, tuple(notes))


def _further_pictures(image: Any, where: str) -> list[str]:
    segments = [content for _, content in getattr(image, "applist", [])]
    if any(mark in segment for mark in _GAIN_MAPS for segment in segments):
        return [_gain_map_note(where)]
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        return [f"{where} holds {frames} pictures; the first is taken, the others are left out"]
    return []


def _gain_map_note(where: str) -> str:
    return f"{where} has a gain map for HDR screens, which no longer fits a changed picture: left out, as for SDR"


def _is_adobe_rgb(image: Image.Image) -> bool:
    """DCF 2.0, Exif 2.32 section 4.6.5: interoperability index R03, colour space not sRGB."""
    try:
        exif = image.getexif()
        index = exif.get_ifd(ExifTags.IFD.Interop).get(1, "")
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
    except Exception:  # damaged EXIF is reported elsewhere
        return False
    index = index.decode("latin-1") if isinstance(index, bytes) else str(index)
    return index.strip("\0 ") == _ADOBE_RGB_FILE and space != 1
