"""From a picture file to upright pixels as they are stored, and what the file says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import deep as deep_images
from harmonyrt.runtime.images import file_structure, tiff_files, turbo_jpeg
from harmonyrt.runtime.images.meaning import meaning_of
from harmonyrt.runtime.images.opening import DAMAGE, Source, opened
from harmonyrt.runtime.images.repairs import loaded_jpeg

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
_MOST_DPI = 100_000  # more is damage


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        pixels: (H,W,C), upright: grey, grey and alpha, RGB, RGBA or CMYK; uint8, or uint16 where the file has 16 bits.
        profile: the ICC profile, if any, or one made of what the file says of its colours.
        chunks: PNG chunks that say the same or more: cICP, mDCV, cLLI.
        exif: EXIF without what described the stored pixels, if any.
        dpi: dots per inch, if any.
        file_format: Pillow's name of the format.
        mode: Pillow's name of the kind of pixels.
        notes: sentences for the user.
        orientation: EXIF's, 1 to 8, which has been applied.
        indices: (H,W) uint8, upright: of a palette, whose colours `pixels` shows; None for other files.
    """

    pixels: np.ndarray
    profile: bytes | None
    chunks: tuple[tuple[bytes, bytes], ...]
    exif: bytes | None
    dpi: tuple[float, float] | None
    file_format: str
    mode: str
    notes: tuple[str, ...]
    orientation: int = 1
    indices: np.ndarray | None = None


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows and columns as the upright picture that an EXIF orientation asks for."""
    return np.ascontiguousarray(_UPRIGHT.get(orientation, lambda a: a)(pixels))


def turned_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn upright pixels back to how the file stores them: the inverse of :func:`turned`."""
    return turned(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def decode(source: Source, where: str, max_megapixels: float) -> Stored:
    """Read a file, the bytes of one, or from an open one, which messages name `where`.

    Raises:
        HarmonyError: missing, unreadable, empty, damaged, not a picture, an animation, or too large.
    """
    with opened(source, where, max_megapixels) as (image, file, page):
        if page is not None and tiff_files.is_deep(page):
            deep = tiff_files.decode_deep(page, image, file, where)
            pixels, mode, notes = tiff_files.as_colours(page, deep, where)
        else:
            assert image is not None
            mode = image.mode
            pixels, notes = _decoded(image, file, where)
            if page is not None:
                notes += tiff_files.taken_by_pillow(page, where)
        if page is not None and page.pages > 1:
            notes.append(f"{where} has {page.pages} pages; the first is taken")
        exif, orientation, dpi = _tags_of(image, page, where, notes)
        turn = orientation if orientation in _UPRIGHT else 1
        said = turn if page is None else page.orientation  # Pillow applies a TIFF's when it decodes it, and forgets it
        meaning = meaning_of(image, page, file, where, grey=pixels.shape[2] <= 2)
        return Stored(
            pixels=turned(pixels, turn),
            profile=meaning.profile,
            chunks=meaning.chunks,
            exif=exif,
            dpi=dpi,
            file_format="TIFF" if image is None else "JPEG" if image.format == "MPO" else str(image.format),
            mode=mode,
            notes=(*notes, *meaning.notes),
            orientation=said if said in _UPRIGHT else 1,
            indices=turned(np.asarray(image), turn) if image is not None and mode == "P" else None,
        )


def _decoded(image: ImageFile.ImageFile, file: BinaryIO, where: str) -> tuple[np.ndarray, list[str]]:
    """(H,W,C) as stored: grey, grey and alpha, RGB, RGBA, or CMYK; uint8, or uint16 where the file has it. Notes."""
    if image.format == "JPEG2000" and image.mode in ("I;16", "I"):
        return _deep_grey(image, where)[..., None], []
    deep = deep_images.decode(image, file)
    if deep is None:
        deep = deep_images.decode_ppm(image, file)
    if deep is None and (image.mode.startswith("I;16") or image.mode == "I"):
        deep = _deep_grey(image, where)[..., None]
    if deep is not None:
        return _keyed(deep, image.info.get("transparency")), []
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
    notes = _depth_lost(image, file, where)
    fast = turbo_jpeg.decoded(image, file)
    if fast is not None:
        return fast, notes
    loaded: Image.Image = image
    if image.format in ("JPEG", "MPO"):
        loaded, more = loaded_jpeg(image, file, where)
        notes += more
    loaded.load()
    pixels = np.asarray(loaded if loaded.mode == wanted else loaded.convert(wanted))
    return pixels if pixels.ndim == 3 else pixels[..., None], notes


def _deep_grey(image: ImageFile.ImageFile, where: str) -> np.ndarray:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise HarmonyError(f"{where} has values outside 16 bits; save it with 8 or 16 bits per channel")
    return values.astype(np.uint16)


def _keyed(deep: np.ndarray, key: Any) -> np.ndarray:
    """Alpha 0 where a 16-bit picture has its transparent colour."""
    if key is None or deep.shape[2] not in (1, 3) or isinstance(key, bytes):
        return deep
    alpha = np.where((deep == np.asarray(key, np.int64)).all(axis=2), np.uint16(0), np.uint16(65535))
    return np.dstack([deep, alpha])


def _depth_lost(image: ImageFile.ImageFile, file: BinaryIO, where: str) -> list[str]:
    """A note where the file has more bits than the pixels that Pillow gives.

    Raises:
        HarmonyError: it has 16, and this should have been kept.
    """
    bits = 8
    if image.format == "JPEG2000":
        bits = file_structure.jpeg2000_bits(file)
    elif image.format == "PPM" and image.tile and image.tile[0][0] == "ppm_plain":
        arguments = image.tile[0].args
        highest = arguments[1] if isinstance(arguments, tuple) else 255
        bits = 16 if isinstance(highest, int) and highest > 255 else 8
    elif image.format == "PNG" and file_structure.png_chunks(file).get(b"IHDR", b"")[8:9] == b"\x10":
        raise HarmonyError(f"{where} holds 16 bits per channel in a way that is not read; save it as plain RGB")
    return [f"{where} holds {bits} bits per channel, of which 8 are read"] if bits > 8 else []


def _tags_of(
    image: ImageFile.ImageFile | None, page: tiff_files.FirstPage | None, where: str, notes: list[str]
) -> tuple[bytes | None, int, tuple[float, float] | None]:
    """EXIF without what described the stored pixels; the orientation that is still to be applied; dots per inch.

    Notes are added to `notes`.
    """
    if image is None:
        assert page is not None
        return None, page.orientation, _plain_dpi(page.dpi)
    exif, orientation, more = _exif_of(image, where)
    notes += more
    return exif, orientation, _plain_dpi(image.info.get("dpi"))


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
    except (*DAMAGE, AttributeError, ArithmeticError):
        return None, 1, [f"the EXIF data of {where} cannot be read and are left out"]


def _plain_dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < _MOST_DPI and 0 < down < _MOST_DPI else None
