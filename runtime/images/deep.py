"""Pictures with 16 bits per channel, which Pillow holds only when they are grey.

Reading lets Pillow decode the file twice: as it does anyway, keeping each value's upper byte, and once more with the
two bytes exchanged, keeping the lower one. Compression, filters, interlacing and strips stay Pillow's business.
Writing needs no more than a PNG's chunks or a plain TIFF.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

_ROWS_AT_ONCE = 256
_COMPRESSION_LEVEL = 4
_EXCHANGED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_TIFF_PLANES_TOGETHER = 1
_INCH = 0.0254  # metres


def decode(image: ImageFile.ImageFile, file: BinaryIO) -> np.ndarray | None:
    """Every bit of a picture with 16-bit colour channels.

    Args:
        image: opened by Pillow from `file`, not loaded yet.
        file: where to read it a second time.

    Returns:
        uint16: (H,W,2) grey and alpha, (H,W,3) RGB or (H,W,4) RGBA; None when the file is not of this kind.
    """
    rawmode = _rawmode(image)
    if image.format not in ("PNG", "TIFF") or not isinstance(rawmode, str):
        return None
    if rawmode == "LA;16B":  # read as if it were RGBA with 8 bits: grey high, grey low, alpha high, alpha low
        bytes_ = _decoded_as(file, image.format, "RGBA")
        return bytes_.view(">u2").astype(np.uint16)
    match = re.fullmatch(r"(RGBA?);16([BLN])", rawmode)
    if match is None or (isinstance(image, TiffImageFile) and image.tag_v2.get(284, 1) != _TIFF_PLANES_TOGETHER):
        return None
    low = _decoded_as(file, image.format, f"{match[1]};16{_EXCHANGED[match[2]]}")
    pixels = np.asarray(image).astype(np.uint16)
    pixels <<= 8
    pixels |= low
    return pixels


def decode_ppm(image: ImageFile.ImageFile, file: BinaryIO) -> np.ndarray | None:
    """(H,W,3) uint16 of a binary PPM with more than 8 bits, of which Pillow keeps 8; None for other files."""
    tile = image.tile[0] if image.tile else None
    if image.format != "PPM" or image.mode != "RGB" or tile is None or tile[0] != "ppm":
        return None
    highest = tile.args[1] if isinstance(tile.args, tuple) else 255
    if not isinstance(highest, int) or highest <= 255:
        return None
    width, height = image.size
    file.seek(tile.offset)
    stored = np.frombuffer(file.read(width * height * 6), ">u2").reshape(height, width, 3).astype(np.uint32)
    return ((np.minimum(stored, highest) * 65535 + highest // 2) // highest).astype(np.uint16)


def _rawmode(image: ImageFile.ImageFile) -> object:
    """How Pillow means to unpack the first tile."""
    if not image.tile:
        return None
    arguments = image.tile[0].args
    return arguments[0] if isinstance(arguments, tuple) else arguments


def _decoded_as(file: BinaryIO, kind: str, rawmode: str) -> np.ndarray:
    file.seek(0)
    again = Image.open(file, formats=(kind,))
    again.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in again.tile
    ]
    return np.asarray(again)


def encode_png(
    file: BinaryIO,
    pixels: np.ndarray,
    profile: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Write (H,W,C) uint16 with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels as a PNG.

    Args:
        file: where to.
        pixels: what.
        profile: an ICC profile, or None.
        exif: EXIF, or None.
        dpi: dots per inch, or None.
        more: further chunks that belong before the pixels.
    """
    height, width, channels = pixels.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    for kind, data in more:
        _chunk(file, kind, data)
    if profile:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif:
        _chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if dpi:
        _chunk(file, b"pHYs", struct.pack(">IIB", *(round(d / _INCH) for d in dpi), 1))
    compressor = zlib.compressobj(_COMPRESSION_LEVEL)
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, _ROWS_AT_ONCE):
        rows = pixels[start : start + _ROWS_AT_ONCE].astype(">u2").view(np.uint8).reshape(-1, above.shape[1])
        up = np.full((len(rows), 1 + rows.shape[1]), 2, np.uint8)  # filter 2: the difference to the row above
        up[:, 1:] = rows - np.concatenate([above, rows[:-1]])
        above = rows[-1:]
        if piece := compressor.compress(up.tobytes()):
            _chunk(file, b"IDAT", piece)
    _chunk(file, b"IDAT", compressor.flush())
    _chunk(file, b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(png_chunk(kind, data))


def encode_tiff(
    file: BinaryIO,
    pixels: np.ndarray,
    profile: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write (H,W,C) uint16 with 1, 2, 3 or 4 channels as an uncompressed TIFF, with the plain tags of `exif`."""
    if pixels.shape[2] == 2:  # 16-bit grey with alpha is a TIFF that few programs read
        pixels = pixels[..., [0, 0, 0, 1]]
    height, width, channels = pixels.shape
    directory = ImageFileDirectory_v2()
    if exif:
        tags = Image.Exif()
        tags.load(exif)
        for tag, value in tags.items():
            directory[tag] = tags.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    data = pixels.astype("<u2").tobytes()
    directory[256], directory[257] = width, height
    directory[258] = (16,) * channels
    directory[259] = 1  # no compression
    directory[262] = 2 if channels >= 3 else 1  # RGB, or grey where 0 is black
    directory[277] = channels
    directory[278] = height  # rows of the only strip
    directory[273], directory[279] = 0, len(data)  # where the strip is: Pillow adds the directory's own length
    if dpi:
        directory[282], directory[283] = dpi
        directory[296] = 2  # per inch
    if channels == 4:
        directory[338] = 2  # alpha that is not multiplied into the colours
    if profile:
        directory.tagtype[34675] = 7
        directory[34675] = profile
    directory.save(file)
    file.write(data)
