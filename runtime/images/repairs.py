"""Files that are whole though a library says otherwise: long texts in PNGs, JPEGs without their end marker."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from harmonyrt.runtime.images.file_structure import jpeg_scans_complete

TEXT_LIMIT = (
    64 << 20
)  # bytes of text in a PNG: Pillow's own limit of 1 MB guards programs that keep texts; ours does not
_END = b"\xff\xd9"
_PROBES = (b"", b"\x00" * 64, b"\x55" * 64, b"\xaa" * 64)
_lock = threading.Lock()
_readers = 0
_own_limits = (0, 0)


@contextlib.contextmanager
def raised_text_limit() -> Iterator[None]:
    """Let Pillow read PNGs with up to 64 MB of text or profile while any picture is read; then its own limits again."""
    global _readers, _own_limits
    with _lock:
        if _readers == 0:
            _own_limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
            PngImagePlugin.MAX_TEXT_CHUNK = max(TEXT_LIMIT, _own_limits[0])
            PngImagePlugin.MAX_TEXT_MEMORY = max(4 * TEXT_LIMIT, _own_limits[1])
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = _own_limits


def loaded_jpeg(image: ImageFile.ImageFile, file: BinaryIO, where: str) -> tuple[Image.Image, list[str]]:
    """Decode a JPEG; one that lacks no more than its end marker, too, with a note.

    What lies behind the last block changes nothing in a whole JPEG. So the end is tried with different bytes before
    it, and the file counts as whole where all give the same picture and its scans bring every coefficient.

    Raises:
        OSError: more is missing.
    """
    try:
        image.load()
        return image, []
    except OSError:
        file.seek(0)
        data = file.read()
        if not jpeg_scans_complete(data):
            raise
        data = data.removesuffix(b"\xff")
        tried = [_decoded(data + probe + _END) for probe in _PROBES]
        if any(len(each) != len(tried[0]) or (each != tried[0]).any() for each in tried[1:]):
            raise
    whole = Image.open(io.BytesIO(data + _END), formats=("JPEG",))
    whole.load()
    return whole, [f"{where} lacks its last bytes, the end marker; its pixels are all there"]


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)
