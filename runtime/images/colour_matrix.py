"""ICC profiles of three primaries and three curves ("matrix/TRC"), read for arithmetic in floats.

Nearly every RGB working space is one: Adobe RGB, Display P3, ProPhoto, Rec. 2020, linear light. Pillow's Little CMS
converts 8 bits at a time, too coarse for pictures of 16. Source: ICC.1:2022, sections 7 (structure), 8.3.3 and annex F
(three-component matrix-based profiles), 10.6 (curveType) and 10.18 (parametricCurveType).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_NODES = 65536
_TABLES = (b"A2B0", b"A2B1", b"B2A0", b"B2A1", b"D2B0", b"D2B1")  # which a colour engine would use instead
_PARAMETERS = (1, 3, 4, 5, 7)  # of each function type of a parametric curve


@dataclass(frozen=True)
class MatrixSpace:
    """A colour space of three primaries.

    Attributes:
        curves: 3 x 65536 float64, rising: linear light of stored values from 0 to 1.
        to_xyz: 3 x 3 float64; linear light as rows times it is XYZ under D50.
    """

    curves: np.ndarray
    to_xyz: np.ndarray

    def linear(self, stored: np.ndarray) -> np.ndarray:
        """(N,3) stored values in [0,1] -> linear light, float64."""
        return self._each(stored, np.linspace(0, 1, _NODES), self.curves)

    def stored(self, linear: np.ndarray) -> np.ndarray:
        """(N,3) linear light -> stored values, cut off at 0 and 1, float64."""
        return self._each(linear, self.curves, np.linspace(0, 1, _NODES))

    @staticmethod
    def _each(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = np.broadcast_to(x, (3, _NODES)), np.broadcast_to(y, (3, _NODES))
        return np.stack([np.interp(values[:, c], x[c], y[c]) for c in range(3)], axis=1)


@lru_cache(maxsize=8)
def matrix_space(profile: bytes) -> MatrixSpace | None:
    """What an ICC profile says, where it consists of primaries and curves that can be inverted; else None."""
    try:
        tags = _tags(profile)
        if profile[16:24] != b"RGB XYZ " or any(name in tags for name in _TABLES):
            return None
        to_xyz = np.array([_fixed(tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")])
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    except (KeyError, ValueError, IndexError, OverflowError, struct.error):
        return None
    usable = np.isfinite(curves).all() and (np.diff(curves) >= 0).all() and (curves[:, -1] > curves[:, 0]).all()
    return MatrixSpace(curves, to_xyz) if usable and abs(np.linalg.det(to_xyz)) > 1e-6 else None


@lru_cache(maxsize=8)
def grey_curve(profile: bytes) -> np.ndarray | None:
    """65536 float64, rising: linear light of a grey profile's values from 0 to 1; None where it has no such curve."""
    try:
        tags = _tags(profile)
        curve = _curve(tags[b"kTRC"])
    except (KeyError, ValueError, IndexError, OverflowError, struct.error):
        return None
    plain = profile[16:20] == b"GRAY" and not any(name in tags for name in _TABLES)
    return curve if plain and np.isfinite(curve).all() and (np.diff(curve) >= 0).all() and curve[-1] > 0 else None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 200)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[start : start + size]
    return tags


def _fixed(data: bytes) -> np.ndarray:
    return np.frombuffer(data, ">i4").astype(float) / 65536


def _curve(data: bytes) -> np.ndarray:
    x = np.linspace(0, 1, _NODES)
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        values = np.frombuffer(data, ">u2", count, 12).astype(float)
        if count == 0:
            return x
        return x ** (values[0] / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), values / 65535)
    if data[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", data, 8)
    given = _fixed(data[12 : 12 + 4 * _PARAMETERS[kind]])
    g, a, b, c, d, e, f = np.concatenate([given, np.zeros(7 - len(given))])
    with np.errstate(invalid="ignore"):
        if kind == 0:
            return x**g
        power = np.where(a * x + b > 0, np.abs(a * x + b), 0) ** g
        if kind in (1, 2):  # c is added in kind 2 only
            return np.clip(np.where(x >= -b / a, power, 0) + (c if kind == 2 else 0), 0, 1)
        return np.clip(np.where(x >= d, power + (e if kind == 4 else 0), c * x + (f if kind == 4 else 0)), 0, 1)
