"""What the values of a clip's planes mean: matrix, range and primaries, as linear maps to the RGB that networks see.

The matrices' coefficients are those of ITU-T H.273, table 4; ranges are its equations 20 to 30.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.luminance import SRGB

UNSPECIFIED = 2
_LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_BT709, _BT601, _YCGCO, _RGB = 1, 6, 8, 0
_MATRIX_NAMES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 8: "YCgCo", 9: "BT.2020"}
_FULL = 2
_REFUSED_TRANSFERS = {
    8: "linear light",
    9: "a logarithmic curve",
    10: "a logarithmic curve",
    16: "HDR (PQ)",
    17: "digital cinema's curve (SMPTE 428)",
    18: "HDR (HLG)",
}
# Primaries far from sRGB's: chromaticities of red, green and blue (H.273, table 2); the white is D65.
_WIDE = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_D65 = (0.3127, 0.3290)


@dataclass(frozen=True)
class Tags:
    """How a clip says that its colours are meant: numbers of H.273, 2 where it does not say.

    Attributes:
        matrix: of luma and chroma.
        range: 1 limited, 2 full, 0 not said.
        primaries: of red, green and blue.
        transfer: the curve.
    """

    matrix: int = UNSPECIFIED
    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


@dataclass(frozen=True)
class ColourSpace:
    """Values of planes, and RGB from 0 to 255: ``rgb = (values - offset) @ to_rgb``.

    Attributes:
        offset: P values, for P colour planes (1 or 3).
        to_rgb: P x 3.
        from_rgb: 3 x P; ``to_rgb @ from_rgb`` is the identity.
        highest: the largest code.
        to_srgb: 3 x 3 for linear light, where the primaries are far from sRGB's; else None.
    """

    offset: np.ndarray
    to_rgb: np.ndarray
    from_rgb: np.ndarray
    highest: int
    to_srgb: np.ndarray | None = None

    def seen(self, rgb: np.ndarray) -> np.ndarray:
        """Colours (3 x ...) in [0, 1] as sRGB, clipped to it."""
        return rgb if self.to_srgb is None else _converted(rgb, self.to_srgb)

    def stored(self, srgb: np.ndarray) -> np.ndarray:
        """The way back from :meth:`seen`."""
        return srgb if self.to_srgb is None else _converted(srgb, np.linalg.inv(self.to_srgb))


def check_transfer(tags: Tags, path: str) -> None:
    """Refuse curves that no network of ours has seen.

    Raises:
        HarmonyError: HDR, linear light or a logarithmic curve.
    """
    if tags.transfer in _REFUSED_TRANSFERS:
        raise HarmonyError(
            f"{path} is in {_REFUSED_TRANSFERS[tags.transfer]}, which the networks were not trained on and would"
            " get wrong; convert it to SDR (BT.709) first"
        )


def colour_space(tags: Tags, kind: str, bits: int, size: tuple[int, int], full_by_name: bool = False) -> ColourSpace:
    """The colour space of a clip's planes.

    Args:
        tags: what the clip says.
        kind: "yuv", "rgb" or "grey".
        bits: of a value.
        size: width and height: what names no matrix is BT.709 from 1280 x 720 on and BT.601 below, as players take it.
        full_by_name: the pixel format itself means full range (yuvj420p).

    Raises:
        HarmonyError: a matrix that is no linear map of RGB.
    """
    highest = (1 << bits) - 1
    full = kind == "rgb" or tags.range == _FULL or full_by_name or (kind == "grey" and tags.range == 0)
    step = 1 << (bits - 8)
    low, luma, chroma = (0, highest, highest) if full else (16 * step, 219 * step, 224 * step)
    wide = _wide(tags.primaries)
    if kind == "rgb":
        eye = np.eye(3)
        span = luma if tags.range != 1 else 219 * step
        low = 0 if tags.range != 1 else 16 * step
        return ColourSpace(np.full(3, float(low)), eye * 255 / span, eye * span / 255, highest, wide)
    if kind == "grey":
        weights = np.asarray(SRGB.weights)[:, None]
        return ColourSpace(np.array([float(low)]), np.full((1, 3), 255 / luma), weights * luma / 255, highest)
    matrix = tags.matrix
    if matrix == UNSPECIFIED:
        matrix = assumed_matrix(size)
    from_rgb = _from_rgb(matrix) * np.array([luma, chroma, chroma]) / 255
    offset = np.array([low, 1 << (bits - 1), 1 << (bits - 1)], np.float64)
    return ColourSpace(offset, np.linalg.inv(from_rgb), from_rgb, highest, wide)


def assumed_matrix(size: tuple[int, int]) -> int:
    """The matrix of a clip that names none, by its width and height."""
    return _BT709 if size[0] >= 1280 or size[1] >= 720 else _BT601


def matrix_name(matrix: int) -> str:
    """For notes."""
    return _MATRIX_NAMES.get(matrix, f"number {matrix}")


def _from_rgb(matrix: int) -> np.ndarray:
    """3 x 3, of RGB to luma from 0 to 1 and chroma from -1/2 to 1/2."""
    if matrix == _YCGCO:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]]).T
    if matrix not in _LUMA:
        raise HarmonyError(
            f"the clip's colour matrix (number {matrix} of H.273) is not known here; convert it to BT.709 first"
        )
    red, blue = _LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, (np.eye(3)[2] - luma) / (2 * (1 - blue)), (np.eye(3)[0] - luma) / (2 * (1 - red))], 1)


def _wide(primaries: int) -> np.ndarray | None:
    if primaries not in _WIDE:
        return None
    return np.linalg.inv(_to_xyz(_SRGB)) @ _to_xyz(_WIDE[primaries])


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Linear RGB of these primaries and D65 to XYZ; columns are the primaries."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))


def _converted(colours: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    linear = SRGB.linear(np.clip(colours, 0, 1).astype(np.float64))
    turned = np.tensordot(matrix, linear, 1).clip(0, 1)
    return SRGB.stored(turned).astype(np.float32)
