"""How much of the change, and which part of it: `strength` and `keep`, with one meaning everywhere.

The twin is runtime/cpp/src/controls.cpp; docs/controls.md has the arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.luminance import SRGB, Light, with_luminance

MOST_STRENGTH = 1.5
KEEP = ("luminance", "hue")


@dataclass(frozen=True)
class Controls:
    """What is done to the network's change of the foreground, before the mask blends it in.

    Attributes:
        strength: share of the change, 0 to 1.5. It scales the maps themselves, before anything is clipped.
        keep: ``"luminance"``: only the chroma changes; ``"hue"``: only the luminance changes; None: both do.
        light: how values of the picture become linear light; for `keep`.
    """

    strength: float = 1.0
    keep: str | None = None
    light: Light = SRGB

    @property
    def is_plain(self) -> bool:
        """Whether the network's answer stays as it is."""
        return self.strength == 1 and self.keep is None

    def changed(self, before: np.ndarray, after: np.ndarray, highest: float) -> np.ndarray:
        """The colours that these controls make of a change.

        Args:
            before: rows x (3 * columns) float32, interleaved colours of the composite, 0 to `highest`.
            after: the same of the network's answer, not clipped.
            highest: 255 or 65535.

        Returns:
            float32 of the same shape; not clipped where `keep` is None.
        """
        if self.strength != 1:
            after = (after - before) * np.float32(self.strength) + before
        if self.keep is None:
            return after
        colours, changed = ((a.reshape(-1, 3) / np.float32(highest)).clip(0, 1) for a in (before, after))
        if self.keep == "luminance":
            colours, changed = changed, colours
        kept = with_luminance(self.light, colour=colours, luminance=changed)
        return (kept * np.float32(highest)).astype(np.float32).reshape(before.shape)


PLAIN = Controls()


def checked_controls(strength: Any, keep: Any) -> Controls:
    """Controls as callers give them.

    Raises:
        HarmonyError: a strength outside 0 to 1.5, or something else to keep.
    """
    number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not number or not (math.isfinite(strength) and 0 <= strength <= MOST_STRENGTH):
        given = f"{float(strength):g}" if number else repr(strength)
        raise HarmonyError(f"the strength is {given}; give 0 (no change) to {MOST_STRENGTH:g}, 1 is the answer itself")
    if keep is not None and keep not in KEEP:
        raise HarmonyError(f"what to keep is {keep!r}; give 'luminance' or 'hue', or None for neither")
    return Controls(float(strength), keep)
