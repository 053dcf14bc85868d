"""TIFF files beyond what Pillow reads right: which page it is, what its channels mean, and every bit of them.

Pillow reads TIFFs of 8 bits and grey ones of 16. Other deep TIFFs are read by tifffile and imagecodecs (the extra
`deep`); where those are missing, RGB and RGBA of 16 bits are read by way of Pillow and the rest is refused.
Sources: TIFF 6.0 (tags, ExtraSamples), TIFF/EP and DNG 1.7 (previews, raw pages).
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.runtime.images import deep as deep_images
from harmonyrt.runtime.images.colours import to_8_bits

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 256, 257, 258, 262, 277, 338, 339
_SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 255, 330, 50706
_RAW_PHOTOMETRICS = (32803, 34892)  # colour filter array, linear raw
_REDUCED, _TRANSPARENCY_MASK = 1, 4  # bits of NewSubfileType
_MOST_PAGES = 64
_MOST_SAMPLES = 16  # a limit on megapixels means little without one on channels
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels by photometric: white is zero, black is zero, RGB, CMYK
_WHITE_IS_ZERO, _CMYK = 0, 5
_PREMULTIPLIED, _ALPHA = 1, 2
_UNSIGNED, _FLOATS = 1, 3


@dataclass(frozen=True)
class FirstPage:
    """The tags of the first page that matter here.

    Attributes:
        bits: per channel: the most of any.
        photometric: what the channels are.
        samples: how many channels.
        extra: what those beyond the colours are: 0 unnamed, 1 premultiplied alpha, 2 alpha.
        planar: the channels are stored one after the other.
        sample_format: 1 unsigned, 2 signed, 3 floats.
        pages: how many pages of full size there are, this one included.
        tags: all of them.
    """

    bits: int
    photometric: int
    samples: int
    extra: tuple[int, ...]
    planar: bool
    sample_format: int
    pages: int
    tags: ImageFileDirectory_v2

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return int(self.tags[_WIDTH]), int(self.tags[_HEIGHT])

    @property
    def orientation(self) -> int:
        """Orientation as EXIF numbers it."""
        found = self.tags.get(274, 1)
        return found if isinstance(found, int) else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Dots per inch, where the file gives them."""
        unit = {2: 1.0, 3: 2.54}.get(self.tags.get(296, 2))
        if unit is None or 282 not in self.tags or 283 not in self.tags:
            return None
        return float(self.tags[282]) * unit, float(self.tags[283]) * unit


def first_page(file: BinaryIO, where: str) -> FirstPage | None:
    """What a TIFF's first page is; None for other files and damaged ones.

    Raises:
        HarmonyError: a camera raw file, whose first page is a preview, or pixels that are no colours.
    """
    file.seek(0)
    head = file.read(16)
    if head[:4] not in _MAGIC:
        return None
    try:
        pages = _directories(file, head)
        page = pages[0]
        _check_not_raw(file, head, page, pages, where)
        bits = page.get(_BITS, (1,))
        samples = int(page.get(_SAMPLES, 1))
        found = FirstPage(
            bits=max(int(b) for b in (bits if isinstance(bits, tuple) else (bits,))),
            photometric=int(page.get(_PHOTOMETRIC, 1)),
            samples=samples,
            extra=tuple(int(e) for e in page.get(_EXTRA, ())),
            planar=page.get(284, 1) == 2 and samples > 1,
            sample_format=max(int(f) for f in page.get(_FORMAT, (_UNSIGNED,))),
            pages=sum(not int(p.get(_SUBFILE, 0)) & (_REDUCED | _TRANSPARENCY_MASK) for p in pages),
            tags=page,
        )
    except (KeyError, ValueError, TypeError, IndexError, struct.error, SyntaxError, OverflowError, OSError):
        return None
    _check_colours(found, where)
    return found


def _directories(file: BinaryIO, head: bytes) -> list[ImageFileDirectory_v2]:
    big = head[2] == 43 or head[3] == 43
    start = ImageFileDirectory_v2(head if big else head[:8]).next
    found: list[ImageFileDirectory_v2] = []
    while start and len(found) < _MOST_PAGES:
        page = _directory(file, head, start)
        found.append(page)
        start = page.next
    return found


def _directory(file: BinaryIO, head: bytes, start: int) -> ImageFileDirectory_v2:
    page = ImageFileDirectory_v2(head if 43 in head[2:4] else head[:8])
    file.seek(start)
    page.load(file)
    return page


def _check_not_raw(
    file: BinaryIO, head: bytes, page: ImageFileDirectory_v2, pages: list[ImageFileDirectory_v2], where: str
) -> None:
    raw = head[8:10] == b"CR" or _DNG_VERSION in page
    raw = raw or any(p.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS for p in pages)
    inside = page.get(_SUB_DIRECTORIES, ())
    for start in inside[:_MOST_PAGES] if isinstance(inside, tuple) else (inside,):
        with contextlib.suppress(SyntaxError, struct.error, OSError, KeyError, ValueError, TypeError):
            more = _directory(file, head, int(start))
            raw = raw or more.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS or more.get(_WIDTH, 0) > page[_WIDTH]
    if raw:
        raise HarmonyError(
            f"{where} is a camera raw file, whose first page is a preview; develop it and export a TIFF, PNG or JPEG"
        )
    if int(page.get(_SUBFILE, 0)) & _REDUCED or int(page.get(_OLD_SUBFILE, 1)) == 2:
        raise HarmonyError(
            f"the first page of {where} is a preview of {page[_WIDTH]} x {page[_HEIGHT]} pixels, as in camera raw"
            " files; export the photo itself as TIFF, PNG or JPEG"
        )


def _check_colours(page: FirstPage, where: str) -> None:
    if page.sample_format == _FLOATS or page.sample_format > _FLOATS:
        raise HarmonyError(
            f"{where} holds {page.bits}-bit floats, whose range is not said; save it with 8 or 16 bits per channel"
        )
    if page.samples > _MOST_SAMPLES:
        raise HarmonyError(f"{where} holds {page.samples} channels; save its colours as RGB")
    if page.bits > 16 and page.samples > 1:
        raise HarmonyError(f"{where} holds {page.bits} bits per channel; save it with 8 or 16 bits per channel")


def is_deep(page: FirstPage) -> bool:
    """Whether the pixels have more than 8 bits and at most 16, unsigned."""
    return 8 < page.bits <= 16 and page.sample_format == _UNSIGNED


def decode_deep(page: FirstPage, image: ImageFile.ImageFile | None, file: BinaryIO, where: str) -> np.ndarray:
    """Every bit of a deep TIFF, each channel as stored.

    Args:
        page: its first page.
        image: as Pillow opened it, or None where Pillow does not know its kind.
        file: the file.
        where: how messages name it.

    Returns:
        (H,W,C) uint16, scaled to 0..65535.

    Raises:
        HarmonyError: a kind that cannot be read, or the extra `deep` is missing and needed.
    """
    if page.photometric not in _COLOURS:
        raise HarmonyError(
            f"{where} has {page.bits}-bit colours that are neither grey nor RGB nor CMYK; save it as RGB with 16 bits"
        )
    try:
        pixels = _by_pillow(page, image, file) if not _is_installed() else None
        if pixels is None:
            pixels = _by_tifffile(page, file, where)
    except MemoryError:
        raise
    except HarmonyError:
        raise
    except Exception as error:  # the library's and its codecs' own kinds
        text = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise HarmonyError(f"{where} is damaged or cut short ({text}); give a picture that opens elsewhere") from None
    if page.bits < 16:
        highest = (1 << page.bits) - 1
        pixels = ((pixels.astype(np.uint32) * 65535 + highest // 2) // highest).astype(np.uint16)
    return pixels


def _is_installed() -> bool:
    try:
        import imagecodecs  # noqa: F401
        import tifffile  # noqa: F401
    except ImportError:
        return False
    return True


def _by_pillow(page: FirstPage, image: ImageFile.ImageFile | None, file: BinaryIO) -> np.ndarray | None:
    if image is None or page.planar:
        return None
    if page.samples == 1 and image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if page.bits == 16 and (page.samples == 3 or (page.samples == 4 and page.extra == (_ALPHA,))):
        return deep_images.decode(image, file)
    return None


def _by_tifffile(page: FirstPage, file: BinaryIO, where: str) -> np.ndarray:
    what = f"reading {where} ({page.samples} channels of {page.bits} bits)"
    require("imagecodecs", "deep", what)
    tifffile = require("tifffile", "deep", what)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        stored = tiff.pages[0]
        pixels = stored.asarray()
        if stored.axes not in ("YX", "YXS", "SYX"):
            raise ValueError(f"axes {stored.axes}")
        if stored.axes == "SYX":
            pixels = pixels.transpose(1, 2, 0)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return pixels.astype(np.uint16)


def as_colours(page: FirstPage, pixels: np.ndarray, where: str) -> tuple[np.ndarray, str, list[str]]:
    """Stored channels as grey or RGB with or without alpha, or CMYK of 8 bits; Pillow's word for it; notes.

    Args:
        page: the first page.
        pixels: (H,W,C) uint16, as :func:`decode_deep` returns them.
        where: how messages name the file.
    """
    count = _COLOURS[page.photometric]
    colours, extra = pixels[..., :count], pixels[..., count:]
    if page.photometric == _WHITE_IS_ZERO:
        colours = 65535 - colours
    if page.photometric == _CMYK:
        note = f"{where} holds CMYK with {page.bits} bits per channel, of which 8 are used"
        return to_8_bits(colours), "CMYK", [note, *_left_out(extra.shape[2], where)]
    kind = page.extra[0] if page.extra and extra.shape[2] else 0
    if kind not in (_PREMULTIPLIED, _ALPHA):
        return colours, "L" if count == 1 else "RGB", _left_out(extra.shape[2], where)
    alpha, notes = extra[..., :1], _left_out(extra.shape[2] - 1, where)
    if kind == _PREMULTIPLIED:
        colours = _unmultiplied(colours, alpha)
        notes.append(_premultiplied_note(where))
    return np.concatenate([colours, alpha], axis=2), "LA" if count == 1 else "RGBA", notes


def taken_by_pillow(page: FirstPage, where: str) -> list[str]:
    """Notes about a page that Pillow decodes: channels that it drops, and integers whose range is a guess."""
    known = _COLOURS.get(page.photometric, 3)
    kept = 1 if page.extra[:1] in ((_PREMULTIPLIED,), (_ALPHA,)) else 0
    notes = _left_out(page.samples - known - kept, where)
    if page.extra[:1] == (_PREMULTIPLIED,):
        notes.append(_premultiplied_note(where))
    if page.sample_format != _UNSIGNED or page.bits > 16:
        white = 255 if page.bits <= 8 else 65535
        kind = "signed " if page.sample_format != _UNSIGNED else ""
        notes.append(f"{where} holds {kind}integers of {page.bits} bits: {white} is taken as white")
    return notes


def _premultiplied_note(where: str) -> str:
    return f"{where} has colours multiplied by alpha; they are written as plain colours and alpha"


def _left_out(count: int, where: str) -> list[str]:
    if count <= 0:
        return []
    what = "a channel" if count == 1 else f"{count} channels"
    return [f"{where} has {what} beyond its colours that it does not name: left out"]


def _unmultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    whole = np.maximum(alpha, 1).astype(np.float64)
    return np.rint(np.minimum(colours * (65535 / whole), 65535)).astype(np.uint16)
