"""Steady colours: what the network says of one frame is weighed with what it says of the frames around it.

The sums that colour maps are fitted to (:class:`harmonyrt.runtime.colour_maps.ColourSums`) are averaged over time,
past and a few coming frames, with weights that fall exponentially, and maps are fitted to the average. So a cell where
the mask shows much counts for more than one where it shows little, and no filter runs on the maps themselves. The past
follows the mask as it moves, ends at a cut, and outlasts a pause in the mask.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonyrt.runtime.colour_maps import ColourMaps, ColourSums, maps_of
from harmonyrt.video.watching import DEFAULT, REFERENCE, Seen, Watcher, time_constant

AHEAD = 8  # coming frames that count: they are held in memory. Chosen by benchmarks/video.py


@dataclass(frozen=True)
class State:
    """All that the frames after one need to know of those before it.

    Attributes:
        watcher: as it was after that frame.
        steadier: likewise.
    """

    watcher: Watcher
    steadier: Steadier


@dataclass(frozen=True)
class Steadied:
    """A frame with its maps.

    Attributes:
        item: the frame, or whatever else came.
        maps: None where the mask is empty.
        state: to go on after this frame another time; None where the item is no frame.
    """

    item: Any
    maps: ColourMaps | None = None
    state: State | None = None


@dataclass
class Steadier:
    """Maps of frames, each from its own sums and those around it.

    Attributes:
        steady: 0 to 1.
        ahead: coming frames to wait for.
    """

    steady: float = DEFAULT
    ahead: int = AHEAD
    _past: np.ndarray | None = None
    _weight: float = 0.0
    _cell: float = 1.0
    _time: float | None = None
    _paused: float = 0.0
    _off: tuple[float, float] = (0.0, 0.0)
    _maps: ColourMaps | None = None
    _waiting: deque[Seen] = field(default_factory=deque)

    def steadied(self, frames: Iterable[Any]) -> Iterator[Steadied]:
        """The frames with their maps.

        Args:
            frames: :class:`Seen`, in order. Anything else passes through at once, without maps.
        """
        ahead = self.ahead if self.steady > 0 else 0
        for seen in frames:
            if not isinstance(seen, Seen):
                yield Steadied(seen)
                continue
            self._waiting.append(seen)
            if len(self._waiting) > ahead:
                yield self._next()
        while self._waiting:
            yield self._next()

    def _next(self) -> Steadied:
        seen = self._waiting.popleft()
        maps = self._maps_at(seen)
        return Steadied(seen.item, maps, State(seen.after, replace(self, _waiting=deque())))

    def _maps_at(self, seen: Seen) -> ColourMaps | None:
        constant = time_constant(self.steady)
        passed = 0.0 if self._time is None else seen.seconds - self._time
        self._time = seen.seconds
        if seen.cut or constant == 0:
            self._past, self._weight, self._maps, self._paused, self._off = None, 0.0, None, 0.0, (0.0, 0.0)
        if not seen.shows:
            self._paused += passed
            return None
        if self._past is not None:
            self._past = self._followed(self._past, seen.shift)
        if seen.sums is not None:
            own, decay = seen.sums.sums, _decay(passed + self._paused, constant)
            self._past = own if self._past is None else self._past * np.float32(decay) + own
            self._weight = self._weight * decay + 1
            self._cell, self._paused = seen.sums.cell, 0.0
        elif seen.passed_over:
            self._paused += passed
        return self._maps_of(seen, constant)

    def _followed(self, past: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
        """The past where the mask is now, by whole cells; the fractions are kept for later."""
        self._off = (self._off[0] + shift[0], self._off[1] + shift[1])
        rows, columns = round(self._off[0]), round(self._off[1])
        self._off = (self._off[0] - rows, self._off[1] - columns)
        return _rolled(_rolled(past, rows, 1), columns, 2)

    def _maps_of(self, seen: Seen, constant: float) -> ColourMaps | None:
        total, weight, fresh = self._past, self._weight, seen.sums is not None or any(seen.shift)
        back = [0.0, 0.0]
        for later in self._waiting:
            if later.cut:
                break
            back = [back[0] - later.shift[0], back[1] - later.shift[1]]
            if later.sums is None:
                continue
            share = _decay(later.seconds - seen.seconds, constant)
            if share < 1e-3:
                break
            moved = _rolled(_rolled(later.sums.sums, round(back[0]), 1), round(back[1]), 2) * np.float32(share)
            total = moved if total is None else np.add(total, moved, out=moved)
            weight, fresh = weight + share, True
            self._cell = later.sums.cell
        if total is None or not total[0].any() or (self._maps is not None and not fresh):
            return self._maps
        self._maps = maps_of(ColourSums(total / np.float32(weight), REFERENCE, REFERENCE, self._cell).about_own_means())
        return self._maps


def _decay(seconds: float, constant: float) -> float:
    return 0.0 if constant <= 0 else math.exp(-max(seconds, 0.0) / constant)


def _rolled(sums: np.ndarray, cells: int, axis: int) -> np.ndarray:
    if cells == 0:
        return sums
    size = sums.shape[axis]
    result = np.zeros_like(sums)
    if abs(cells) >= size:
        return result
    target: list[slice] = [slice(None)] * 3
    source: list[slice] = [slice(None)] * 3
    target[axis] = slice(max(cells, 0), size + min(cells, 0))
    source[axis] = slice(max(-cells, 0), size - max(cells, 0))
    result[tuple(target)] = sums[tuple(source)]
    return result
