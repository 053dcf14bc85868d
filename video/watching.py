"""Which frames of a clip the network is asked about, where scenes end, and how the masked place moves.

Where a frame hardly differs from the last one that the network saw, or follows it so soon that an average over time
hardly would, the network is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.colour_maps import GRID, ColourSums
from harmonyrt.video.looking import Look, difference, is_cut, largest_difference

# Chosen by benchmarks/video.py; docs/video.md has the table.
DEFAULT = 0.5
SECONDS_AT_HALF = 0.5  # time constant of the average at steady 0.5; it grows as s / (1 - s)
SPARED_BELOW = 0.006  # of 1: up to this difference of a thumbnail's blocks a frame counts as the same (steady 0.5)
LONGEST_SPARED = 12  # frames in a row without the network
SPARED_WITHIN = 1 / 8  # of the time constant: so soon after a frame that the network saw, even a moving one is spared
ASKED_FIRST = 8  # frames of a scene that the network sees before any is spared
REFERENCE = np.full(3, 0.5)
"""The colour that sums of frames are about, so that they can be added."""
_FOREVER = 1e9


def check_steady(steady: float) -> float:
    """A steadiness as callers give it.

    Raises:
        HarmonyError: outside 0 to 1.
    """
    if isinstance(steady, bool) or not isinstance(steady, (int, float)) or not 0 <= steady <= 1:
        raise HarmonyError(
            f"the steadiness is {steady}; give 0 (each frame by itself) to 1 (one change for each scene)"
        )
    return float(steady)


def time_constant(steady: float) -> float:
    """Seconds over which the average reaches."""
    return _FOREVER if steady >= 1 else SECONDS_AT_HALF * steady / (1 - steady)


@dataclass(frozen=True)
class Seen:
    """What is known of one frame before its neighbours are.

    Attributes:
        item: the frame, for whoever applies the maps.
        seconds: its time.
        sums: what the network did to it, about 0.5; None where the mask is empty or the network was not asked.
        shows: whether the mask is not empty.
        cut: whether a new scene begins here.
        after: the watcher as it was after this frame; to go on from here another time.
        shift: how far the place has moved since the frame before that had one, in cells.
        passed_over: the network was not asked because it just had been, though the frame is another one.
    """

    item: Any
    seconds: float
    sums: ColourSums | None
    shows: bool
    cut: bool
    shift: tuple[float, float] = (0.0, 0.0)
    passed_over: bool = False
    after: Any = None


@dataclass
class Watcher:
    """Looks at frames in order, and asks the network where it has to.

    Attributes:
        answer: the network: a :class:`Look` in, sums out.
        steady: 0 to 1.
        asked: how many times the network was asked.
        cuts: how many there were.
    """

    answer: Callable[[Look], ColourSums]
    steady: float = DEFAULT
    asked: int = 0
    cuts: int = 0
    _before: Look | None = None
    _answered: Look | None = None
    _usual: float = 0.0
    _spared: int = 0
    _asked_at: float = 0.0
    _of_scene: int = 0
    _place: np.ndarray | None = None

    def watch(self, item: Any, seconds: float, view: Look) -> Seen:
        """Look at one frame.

        Args:
            item: kept for the caller.
            seconds: time of the frame.
            view: the frame at the network's size.
        """
        return replace(self._watched(item, seconds, view), after=replace(self))

    def _watched(self, item: Any, seconds: float, view: Look) -> Seen:
        cut = self._before is not None and is_cut(self._before, view, self._usual)
        if self._before is not None:
            self._usual = 0.0 if cut else 0.7 * self._usual + 0.3 * difference(self._before, view)
        self._before = view
        if cut:
            self.cuts += 1
            self._answered = self._place = None
            self._of_scene = 0
        if not view.fitted.mask.any():
            return Seen(item, seconds, None, False, cut)
        place = _place_of(view.fitted.mask)
        cells = min(GRID, max(view.fitted.mask.shape))
        shift = (0.0, 0.0) if self._place is None else _moved(self._place, place, cells)
        self._place = place
        same, soon = self._is_spared(view, seconds)
        if same or soon:
            self._spared += 1
            return Seen(item, seconds, None, True, cut, shift, passed_over=not same)
        self._answered, self._asked_at, self._spared = view, seconds, 0
        self.asked, self._of_scene = self.asked + 1, self._of_scene + 1
        sums = self.answer(view).about(REFERENCE, REFERENCE)
        small = ColourSums(sums.sums.astype(np.float32), REFERENCE, REFERENCE, sums.cell)
        return Seen(item, seconds, small, True, cut, shift)

    def _is_spared(self, view: Look, seconds: float) -> tuple[bool, bool]:
        """Whether the network need not be asked: the frame is the same as one that it saw, or comes soon after."""
        early = self._of_scene < ASKED_FIRST or self._spared >= LONGEST_SPARED
        if self.steady == 0 or self._answered is None or early:
            return False, False
        same = largest_difference(self._answered, view) < SPARED_BELOW * min(1.0, 2 * self.steady)
        within = SPARED_WITHIN * min(time_constant(self.steady), SECONDS_AT_HALF)
        return same, 0 <= seconds - self._asked_at < within


def _place_of(mask: np.ndarray) -> np.ndarray:
    """First, last and mean row, and column, of a mask at the network's size, in shares of its longer side.

    Followed by whether it touches the first and the last row, and column: there a side does not tell motion.
    """
    longer = max(mask.shape)
    found = []
    for axis in (1, 0):
        line = mask.sum(axis)
        used = np.flatnonzero(line > 0.5)
        if not used.size:
            used = np.flatnonzero(line)
        first, last = used[0], used[-1]
        middle = float((line * np.arange(line.size)).sum() / line.sum())
        found.append((first / longer, last / longer, middle / longer, first == 0, last == line.size - 1))
    return np.array(found, np.float64)


def _moved(before: np.ndarray, now: np.ndarray, cells: int) -> tuple[float, float]:
    """How far a mask has moved, of `cells` along the longer side: by what of its sides the frame does not cut off."""
    result = []
    for old, new in zip(before, now, strict=True):
        at_first, at_last = bool(old[3] or new[3]), bool(old[4] or new[4])
        which = 2 if not (at_first or at_last) else 1 if not at_last else 0 if not at_first else None
        result.append(0.0 if which is None else float(new[which] - old[which]) * cells)
    return result[0], result[1]
