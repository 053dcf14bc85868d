"""Large JPEGs written in strips, by as many threads as there are cores.

A strip of whole rows of blocks is one restart interval: the coefficients and the pixels are those of a file written at
once, and the file is the same for any number of threads. Each interval ends in a marker, two bytes a strip.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from harmonyrt.runtime.machine import cores
from harmonyrt.runtime.pools import in_threads

BLOCK = 8
"""Pixels of a block's side; without chroma subsampling it is the unit of restart intervals too (ITU T.81, A.2)."""
STRIP = 1 << 20
"""Pixels of a strip; few enough for an interval, which counts up to 65535 blocks."""
LONGEST_SIDE = 65500
"""libjpeg's own; longer sides are its error."""
_START_OF_FRAME, _START_OF_SCAN, _RESTART, _END = 0xC0, 0xDA, 0xD0, b"\xff\xd9"
_MOST_THREADS = 4


def rows_of_blocks(height: int, width: int) -> int | None:
    """Rows of blocks in a strip; None for a picture that is written at once: small, or too large for a JPEG."""
    if height * width < 2 * STRIP or max(height, width) > LONGEST_SIDE:
        return None
    return max(1, STRIP // (BLOCK * width))


def save(pixels: np.ndarray, file: BinaryIO, options: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Write a picture in strips.

    Args:
        pixels: (H,W) grey or (H,W,3) RGB, uint8.
        file: open for writing bytes.
        options: Pillow's for the pixels: baseline, with the standard Huffman tables, and no chroma subsampling.
        metadata: Pillow's for the rest.

    Returns:
        False where it is to be written at once; then nothing was written.
    """
    height, width = pixels.shape[:2]
    rows = rows_of_blocks(height, width)
    if rows is None:
        return False
    starts = range(0, height, rows * BLOCK)

    def encoded(start: int) -> bytes:
        more = {**metadata, "restart_marker_rows": rows} if start == 0 else {}
        content = io.BytesIO()
        strip = np.ascontiguousarray(pixels[start : start + rows * BLOCK])
        Image.fromarray(strip).save(content, "JPEG", **options, **more)
        return content.getvalue()

    with ThreadPoolExecutor(min(cores(), len(starts), _MOST_THREADS), "harmonyrt-write") as pool:
        strips = in_threads(encoded, starts, pool)
    for number, strip in enumerate(strips):
        head, scan = _parts(strip)
        if number == 0:
            file.write(_of_height(head, height))
        else:
            file.write(bytes((0xFF, _RESTART + (number - 1) % 8)))
        file.write(scan)
    file.write(_END)
    return True


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the scan's own header."""
    at = 2
    while True:
        marker, length = content[at + 1], struct.unpack_from(">H", content, at + 2)[0]
        yield marker, at, at + 2 + length
        if marker == _START_OF_SCAN:
            return
        at += 2 + length


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """What comes before the scan's data, and the data without the end marker."""
    *_, (_, _, end) = _segments(content)
    return content[:end], content[end : -len(_END)]


def _of_height(head: bytes, height: int) -> bytes:
    start = next(start for marker, start, _ in _segments(head) if marker == _START_OF_FRAME)
    return head[: start + 5] + struct.pack(">H", height) + head[start + 7 :]
