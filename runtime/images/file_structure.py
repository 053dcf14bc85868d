"""What picture files say of themselves that Pillow does not pass on: PNG chunks, boxes of AVIF, scans of JPEG.

Only headers are read here; pixels are Pillow's business. Sources: PNG 3rd edition section 5, ISO/IEC 14496-12 and
23008-12 (boxes), AV1-ISOBMFF section 2.3 (av1C), ITU-T T.81 annexes B and G, ITU-T T.800 annex A (SIZ).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_LARGEST_HEADER = 1 << 20  # bytes of a chunk or box that is read


def png_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks of a PNG before its pixels, those of a kind that may stand once; long ones are passed over."""
    file.seek(8)
    found: dict[bytes, bytes] = {}
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            break
        if size <= _LARGEST_HEADER and kind in (b"IHDR", b"cICP", b"mDCV", b"cLLI", b"gAMA", b"cHRM", b"sRGB"):
            found.setdefault(kind, file.read(size))
            file.seek(4, 1)
        else:
            file.seek(size + 4, 1)
    return found


@dataclass(frozen=True)
class AvifHeader:
    """What an AVIF says: bits per channel, (primaries, transfer) of H.273 or None, and whether a gain map belongs."""

    bits: int
    code_points: tuple[int, int] | None
    gain_map: bool


def avif_header(file: BinaryIO) -> AvifHeader:
    """Read an AVIF's properties: of its primary picture, since properties of that come first."""
    file.seek(0)
    head = file.read(_LARGEST_HEADER)
    bits, code_points, gain_map = 8, None, False
    for path, body in _boxes(head, ("meta", "iprp", "ipco", "iinf")):
        if path.endswith("ipco/colr") and body[:4] == b"nclx" and len(body) >= 8 and code_points is None:
            code_points = struct.unpack_from(">HH", body, 4)
        elif path.endswith("ipco/av1C") and len(body) >= 3:
            bits = max(bits, 8 if not body[2] & 0x40 else 12 if body[2] & 0x20 else 10)
        elif path.endswith("iinf/infe"):
            gain_map = gain_map or body[8:12] == b"tmap"
    return AvifHeader(bits, code_points, gain_map)


def _boxes(data: bytes, containers: tuple[str, ...], path: str = "") -> Iterator[tuple[str, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= len(data):
            size, start = struct.unpack_from(">Q", data, start)[0], at + 16
        size = len(data) - at if size == 0 else size
        if size < start - at:
            return
        name, body = kind.decode("latin-1"), data[start : at + size]
        yield f"{path}/{name}", body
        if name in containers:
            skip = {"meta": 4, "iinf": 6 if body[:1] == b"\0" else 8}.get(name, 0)  # versions, flags and counts
            yield from _boxes(body[skip:], containers, f"{path}/{name}")
        at += size


def jpeg2000_bits(file: BinaryIO) -> int:
    """Bits per channel of a JPEG 2000 file or codestream: the most of any channel; 8 where it cannot be told."""
    file.seek(0)
    head = file.read(_LARGEST_HEADER)
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 44 > len(head):
        return 8
    (channels,) = struct.unpack_from(">H", head, at + 40)
    depths = head[at + 42 : at + 42 + 3 * channels : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8)


def jpeg_scans_complete(data: bytes) -> bool:
    """Whether a JPEG's scans bring every coefficient of every component to its full precision."""
    components, left, at = 0, {}, 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD7 or marker == 0x01:  # stuffing, fill, restarts
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + size]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            components = body[5]
            left = {(body[6 + 3 * c], k): 99 for c in range(components) for k in range(64)}
        elif marker == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            first, last, precision = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for c in range(body[0]):
                left |= {(body[1 + 2 * c], k): precision & 15 for k in range(first, min(last, 63) + 1)}
        at += 2 + size
    return components > 0 and not any(left.values())


def jpeg2000_profile(file: BinaryIO) -> bytes | None:
    """The ICC profile in a JP2's colour box, or None."""
    file.seek(0)
    for path, body in _boxes(file.read(_LARGEST_HEADER), ("jp2h",)):
        if path == "/jp2h/colr" and body[:1] == b"\x02" and len(body) > 131:
            return body[3:]
    return None
