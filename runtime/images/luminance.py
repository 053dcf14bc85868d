"""Colours of one picture with the luminance of another, in linear light.

A colour is its luminance Y (CIE, a weighted sum of linear red, green and blue) and what remains, its chroma, whose own
luminance is 0. Scaling the chroma moves a colour along a straight line to the grey of equal luminance, so the luminance
is exact whatever the scale, and the hue is that of the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images.colour_matrix import MatrixSpace, matrix_space

MOST_CHROMA = 4.0  # largest scale of a chroma: what is brightened by more would mostly show the noise of dark places
_LEAST = 1e-12


@dataclass(frozen=True)
class Light:
    """How a picture's values become linear light.

    Attributes:
        weights: of linear red, green and blue in the luminance; they sum to 1.
        space: curves of the values; None for sRGB's.
    """

    weights: tuple[float, float, float]
    space: MatrixSpace | None = None

    def linear(self, values: np.ndarray) -> np.ndarray:
        """(N,3) values in [0,1] -> linear light."""
        if self.space is not None:
            return self.space.linear(values)
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)

    def stored(self, linear: np.ndarray) -> np.ndarray:
        """(N,3) linear light in [0,1] -> values."""
        if self.space is not None:
            return self.space.stored(linear)
        return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


SRGB = Light((0.2126, 0.7152, 0.0722))


def light_of(profile: bytes | None) -> Light:
    """The light of an RGB picture with an ICC profile; None: sRGB. (Grey has no chroma: sRGB's light does for it.)

    Raises:
        HarmonyError: a profile of tables, whose luminance is no sum of three curves.
    """
    if profile is None or image_colours.is_srgb(profile, 3):
        return SRGB
    space = matrix_space(profile)
    if space is None:
        raise HarmonyError(
            "keeping luminance or hue needs a picture in sRGB or in a space of primaries and curves, and this one's"
            " profile is a table; convert it to sRGB first"
        )
    weights = space.to_xyz[:, 1] / space.to_xyz[:, 1].sum()
    return Light((float(weights[0]), float(weights[1]), float(weights[2])), space)


def with_luminance(light: Light, colour: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Give colours the luminance of others.

    Hue and saturation (the chromaticity) are those of `colour`; the saturation is less where the result would leave the
    space, or where a dark colour is brightened by more than `MOST_CHROMA`.

    Args:
        light: of both.
        colour: (N,3) in [0,1].
        luminance: (N,3) in [0,1], of which the luminance counts.

    Returns:
        (N,3) in [0,1].
    """
    weights = np.asarray(light.weights, np.float64)
    linear = light.linear(colour.astype(np.float64))
    own, wanted = linear @ weights, light.linear(luminance.astype(np.float64)) @ weights
    chroma = linear - own[:, None]
    scale = np.minimum(wanted / np.maximum(own, _LEAST), MOST_CHROMA)[:, None]
    room = np.where(chroma > 0, 1 - wanted[:, None], wanted[:, None]) / np.maximum(np.abs(chroma), _LEAST)
    scale = np.minimum(scale, room.min(axis=1, keepdims=True))
    return light.stored((wanted[:, None] + scale * chroma).clip(0, 1))
