"""Opening picture files: what is recognised, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from harmonyrt.common import HarmonyError, OutOfMemory
from harmonyrt.common.errors import TooLarge, UnknownFormat
from harmonyrt.runtime.images import tiff_files
from harmonyrt.runtime.images.repairs import TEXT_LIMIT, raised_text_limit

Source = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
"""A path, the bytes of a file, or an open one."""

READABLE = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read. A list, since some of Pillow's other readers start programs."""

DAMAGE = (  # what Pillow raises about files that are not as they should be
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip
_MOST_PIPED = 2 << 30  # bytes
_pillow_limit = threading.Lock()


@contextlib.contextmanager
def opened(
    source: Source, where: str, max_megapixels: float
) -> Iterator[tuple[ImageFile.ImageFile | None, BinaryIO, tiff_files.FirstPage | None]]:
    """The picture, recognised and found small enough but not decoded yet, its file, and the first page of a TIFF.

    The picture is None where only the page is known.
    """
    with _file(source, where) as file, raised_text_limit():
        if not file.read(1):
            raise HarmonyError(f"{where} is empty (0 bytes); give a picture such as PNG, JPEG, TIFF or WebP")
        page = None
        try:
            page = tiff_files.first_page(file, where)
            file.seek(0)
            image = _open_by_pillow(file, page)
            width, height = page.size if image is None and page is not None else image.size  # type: ignore[union-attr]
            if width * height > max_megapixels * 1e6:
                raise TooLarge(
                    f"{where} has {width * height / 1e6:.3g} megapixels ({width} x {height}), more than the limit of"
                    f" {max_megapixels:g}; scale it down, or raise the limit with --max-megapixels"
                )
            alone = image is None or image.format in ("MPO", "TIFF")
            frames = 1 if alone else getattr(image, "n_frames", 1)
            if frames > 1:
                raise HarmonyError(f"{where} is an animation of {frames} frames; give it frame by frame")
            yield image, file, page
        except HarmonyError:
            raise
        except UnidentifiedImageError:
            if page is not None:
                raise UnknownFormat(
                    f"{where} is a TIFF of {page.samples} channels of {page.bits} bits whose kind is not read;"
                    " save it as RGB with 8 or 16 bits per channel"
                ) from None
            raise UnknownFormat(
                f"{where} is not a picture of a known format; give PNG, JPEG, TIFF, WebP, AVIF, BMP, GIF or PPM"
            ) from None
        except MemoryError:
            raise OutOfMemory(f"{where} does not fit into this machine's memory; scale it down") from None
        except DAMAGE as error:
            if "PngImagePlugin.MAX_TEXT" in str(error):
                raise HarmonyError(
                    f"{where} holds more than {TEXT_LIMIT >> 20} MB of text or colour profile; save it without"
                ) from None
            raise HarmonyError(
                f"{where} is damaged or cut short ({first_line(error)}); give a picture that opens elsewhere"
            ) from None


def megapixels_of(source: Source, where: str, max_megapixels: float) -> float:
    """Megapixels of a picture, from its header: nothing is decoded.

    Raises:
        HarmonyError: as :func:`harmonyrt.runtime.images.pictures.read_picture_file` says early: empty, not a picture
            (`UnknownFormat`), an animation, or beyond the limit (`TooLarge`).
    """
    with opened(source, where, max_megapixels) as (image, _, page):
        width, height = page.size if image is None and page is not None else image.size  # type: ignore[union-attr]
        return width * height / 1e6


def _open_by_pillow(file: BinaryIO, page: tiff_files.FirstPage | None) -> ImageFile.ImageFile | None:
    try:
        with _pillow_limit:  # ours is checked by the caller, and is the one that a user can set
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(file, formats=_known_to_pillow())
            finally:
                Image.MAX_IMAGE_PIXELS = before
    except UnidentifiedImageError:
        if page is not None and tiff_files.is_deep(page):
            return None
        raise


def _known_to_pillow() -> list[str]:
    """Pillow's common formats and some more, where this Pillow has them; loading all would cost a tenth of a second."""
    Image.preinit()
    for plugin in ("WebP", "Jpeg2K", "Avif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return [kind for kind in READABLE if kind in Image.OPEN]


@contextlib.contextmanager
def _file(source: Source, where: str) -> Iterator[BinaryIO]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
        return
    if hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise HarmonyError(f"{where} was opened as text; open it with mode 'rb'")
        yield io.BytesIO(content)
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
    except TypeError:
        raise HarmonyError(
            f"a {type(source).__name__} was given as a picture file; give a path, bytes, or a file opened with 'rb'"
        ) from None
    except (OSError, ValueError) as error:
        raise HarmonyError(f"{where} cannot be opened ({first_line(error)}); check the path") from None
    with file:
        yield file if file.seekable() else io.BytesIO(_piped(file, where))


def _piped(file: BinaryIO, where: str) -> bytes:
    """All that comes through a pipe: pictures are read back and forth, which a pipe cannot do."""
    try:
        data = file.read(_MOST_PIPED + 1)
    except OSError as error:
        raise HarmonyError(f"{where} cannot be read ({first_line(error)}); give a picture file") from None
    if len(data) > _MOST_PIPED:
        raise HarmonyError(f"{where} is a pipe that sends more than {_MOST_PIPED >> 30} GiB; give a picture file")
    return data


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a sentence."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:160]
