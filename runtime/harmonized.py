"""What a call made of a composite, for callers who want more than the picture: its layer, and its change as a LUT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.composites import Picture
from harmonyrt.runtime.lut import ColourLut, fit_lut


@dataclass(frozen=True)
class Layer:
    """The harmonized foreground alone.

    Attributes:
        picture: of the composite's type, size, depth and colour space, with straight alpha: the mask (times the
            composite's own alpha, where it has one). Where alpha is 0 the colour is black.
        beyond: pixels of the soft edge whose harmonized colour no layer can give: there the change leaves the range of
            colours, and laying the layer over the composite misses the harmonized picture by more than a level (of 8
            bits).
    """

    picture: Any
    beyond: int


@dataclass(frozen=True)
class Harmonized:
    """One harmonized composite.

    Attributes:
        picture: what :meth:`harmonyrt.runtime.Harmonizer.harmonize` returns.
    """

    picture: Any
    _composite: Picture
    _mask: np.ndarray
    _result: np.ndarray
    _colours: Callable[[], np.ndarray]

    def layer(self) -> Layer:
        """The harmonized foreground as a layer: over the composite it gives the harmonized picture, within 1 level.

        Raises:
            HarmonyError: a composite of a type that has no alpha (16-bit grey PIL images).
        """
        own, mask = self._composite.own, self._mask
        if self._composite.as_layer is None:
            raise HarmonyError("this composite knows no layers; give an array, a PIL image or a PictureFile")
        colours = self._colours()
        colours[mask == 0] = 0
        alpha = mask
        if self._composite.alpha is not None:
            alpha = ((mask.astype(np.uint16) * self._composite.alpha + np.uint16(127)) // 255).astype(np.uint8)
        return Layer(self._composite.as_layer(colours, alpha), _beyond(own, mask, colours, self._result))

    def lut(self, size: int = 33) -> ColourLut:
        """The change of the foreground as a 3D LUT, in the composite's own colour space.

        Args:
            size: points along each side, 2 to 65.

        Raises:
            HarmonyError: another size.
        """
        inside = self._mask > 0
        return fit_lut(self._composite.own[inside], self._colours()[inside], self._mask[inside], size)


def _beyond(own: np.ndarray, mask: np.ndarray, colours: np.ndarray, result: np.ndarray) -> int:
    soft = (mask > 0) & (mask < 255)
    share = mask[soft].astype(np.float32)[:, None] / np.float32(255)
    laid = own[soft] * (1 - share) + colours[soft] * share
    level = np.iinfo(own.dtype).max / 255
    return int(np.count_nonzero((np.abs(laid - result[soft]) > 1.5 * level).any(axis=1)))
