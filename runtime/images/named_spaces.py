"""Colour spaces that a file names by numbers instead of a profile, as ICC profiles, which every format can carry.

Sources: ITU-T H.273 (the code points of cICP and nclx), PNG 3rd edition sections 11.3.2.1 and 11.3.2.2 (gAMA, cHRM),
Exif 2.32 with DCF 2.0 (R03 is Adobe RGB), ICC.1:2001-04 (the profile that is written), Adobe RGB (1998) section 4.
"""

from __future__ import annotations

import struct

import numpy as np

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.3290)
_SRGB_PRIMARIES = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_CURVE_POINTS = 4096

PRIMARIES = {  # of H.273: white, red, green, blue as x, y
    1: _SRGB_PRIMARIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Pictures that name a video curve (1, 6, 14, 15) or none (2) are made and shown with sRGB's.
_SRGB_CURVES = (1, 2, 6, 13, 14, 15)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
HDR_CURVES = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


def of_code_points(primaries: int, transfer: int, *, grey: bool) -> tuple[bytes | None, str | None]:
    """The profile of H.273 code points, as cICP and nclx give them.

    Returns:
        A profile or None for sRGB, and a word for what no profile can say: a curve of HDR, or unknown numbers.
    """
    if transfer in HDR_CURVES:
        return None, f"HDR ({HDR_CURVES[transfer]})"
    if primaries == _UNSPECIFIED:
        primaries = 1
    if primaries not in PRIMARIES or (transfer not in _SRGB_CURVES and transfer not in _GAMMAS):
        return None, f"the colour space {primaries}/{transfer}"
    gamma = _GAMMAS.get(transfer)
    if primaries == 1 and gamma is None:
        return None, None
    return make_profile(PRIMARIES[primaries], gamma, grey=grey), None


def of_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None, *, grey: bool) -> bytes | None:
    """The profile of a PNG's gAMA and cHRM; None where they say sRGB, or nonsense.

    Args:
        gamma: as stored, of encoding: 0.45455 is usual; None when there is none.
        chromaticities: x and y of white, red, green, blue; None when there are none.
        grey: the picture is grey.
    """
    plain_gamma = gamma is None or abs(gamma - 1 / 2.2) < 0.005
    plain_primaries = (
        grey or chromaticities is None or np.abs(np.subtract(chromaticities, _SRGB_PRIMARIES)).max() < 0.002
    )
    if plain_gamma and plain_primaries:
        return None
    if gamma is not None and not 0.1 < gamma < 10:
        return None
    # A gAMA of 0.45455 means sRGB's curve, as everywhere (PNG 3rd edition, annex C).
    try:
        return make_profile(chromaticities or _SRGB_PRIMARIES, None if plain_gamma else 1 / (gamma or 1), grey=grey)
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error):
        return None


def adobe_rgb() -> bytes:
    """The profile of what Exif calls R03."""
    return make_profile((*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256, grey=False)


def make_profile(chromaticities: tuple[float, ...], gamma: float | None, *, grey: bool) -> bytes:
    """An ICC profile of version 2.

    Args:
        chromaticities: x and y of white, red, green, blue.
        gamma: of decoding; None for sRGB's curve.
        grey: of one channel, without primaries.
    """
    curve = _curve(gamma)
    tags = [
        (b"desc", _description(b"colours named by the file")),
        (b"cprt", b"text\0\0\0\0no copyright\0"),
        (b"wtpt", b"XYZ \0\0\0\0" + _fixed(*_D50)),
    ]
    if grey:
        tags.append((b"kTRC", curve))
    else:
        rows = _to_d50(np.reshape(chromaticities, (4, 2)))
        tags += [(name, b"XYZ \0\0\0\0" + _fixed(*row)) for name, row in zip(_names(b"XYZ"), rows, strict=True)]
        tags += [(name, curve) for name in _names(b"TRC")]
    return _assembled(b"GRAY" if grey else b"RGB ", tags)


def _names(kind: bytes) -> list[bytes]:
    return [colour + kind for colour in (b"r", b"g", b"b")]


def _to_d50(xy: np.ndarray) -> np.ndarray:
    """3 x 3: XYZ under D50 of red, green and blue."""
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy[:, 0] - xy[:, 1]) / xy[:, 1]], axis=1)
    white, primaries = xyz[0], xyz[1:]
    primaries = primaries * np.linalg.solve(primaries.T, white)[:, None]
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    return primaries @ (np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD).T


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    x = np.linspace(0, 1, _CURVE_POINTS)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", _CURVE_POINTS) + np.rint(linear * 65535).astype(">u2").tobytes()


def _description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _assembled(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    index, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags:
        index += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I", start + len(body)) + b"\0" * 4 + b"\x02\x40\0\0mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _fixed(*_D50)
    return head.ljust(128, b"\0") + index + body
