"""How long requests take here, and whether one more could expect its turn in time.

An overloaded server that lets requests wait answers all of them late. So one is refused where it would take several
times as long as it takes by itself: what is accepted stays quick, whatever the load, and who is refused knows it at
once and can go elsewhere. Times are measured as requests come, by kind and by size (in steps of a factor of two).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_LONGEST = 2.3  # times what a request takes by itself: the rest, to 4, is for what varies
_WEIGHT = 0.15  # of the newest measurement
_FORGET = 1.002  # the shortest time seen grows by this with every request, so that a lucky one is forgotten


class Measured(Protocol):
    """What this module reads of a ticket."""

    kind: str
    megapixels: float
    began: float | None


@dataclass
class _Times:
    """Seconds from start to end.

    Attributes:
        busy: with others, as lately measured.
        alone: by itself; None if that has not happened.
        shortest: of any.
    """

    busy: float
    alone: float | None
    shortest: float

    @property
    def unloaded(self) -> float:
        return self.shortest if self.alone is None else min(self.alone, self.busy)


class Pace:
    """Estimates of waiting times.

    Args:
        workers: how many requests run at once.
        max_wait: seconds that a request may expect to wait; None for a share of what it takes by itself.
    """

    def __init__(self, workers: int, max_wait: float | None = None) -> None:
        self._workers, self._max_wait = workers, max_wait
        self._times: dict[tuple[str, int], _Times] = {}

    def learn(self, kind: str, megapixels: float, seconds: float, alone: bool) -> None:
        """Remember how long a request took."""
        key = _key(kind, megapixels)
        known = self._times.get(key)
        if known is None:
            self._times[key] = _Times(seconds, seconds if alone else None, seconds)
            return
        known.shortest = min(known.shortest * _FORGET, seconds)
        if alone:
            known.alone = _mean(known.alone, seconds)
        else:
            known.busy = _mean(known.busy, seconds)

    def wait(self, waiting: Iterable[Measured], running: Iterable[Measured]) -> float:
        """Seconds until a request that comes now may expect its turn."""
        now = time.monotonic()
        left = sum(max(0.0, self._seconds(ticket) - (now - (ticket.began or now))) for ticket in running)
        return (left + sum(self._seconds(ticket) for ticket in waiting)) / self._workers

    def accepts(self, kind: str, megapixels: float, waiting: Iterable[Measured], running: Iterable[Measured]) -> bool:
        """Whether a request would have its turn in time. Nothing is refused that would be the first to wait."""
        waiting = list(waiting)
        if not waiting:
            return True
        seconds = self.wait(waiting, running)
        if self._max_wait is not None:
            return seconds <= self._max_wait
        known = self._times.get(_key(kind, megapixels))
        return known is None or seconds + known.busy <= _LONGEST * known.unloaded

    def is_hopeless(self, waiting: Iterable[Measured], running: Iterable[Measured]) -> bool:
        """Whether any request of a size that has been seen would be refused: its body need not be read then."""
        waiting = list(waiting)
        if not waiting or not self._times:
            return False
        seconds = self.wait(waiting, running)
        if self._max_wait is not None:
            return seconds > self._max_wait
        return all(seconds + known.busy > _LONGEST * known.unloaded for known in self._times.values())

    def _seconds(self, ticket: Measured) -> float:
        known = self._times.get(_key(ticket.kind, ticket.megapixels))
        return 0.0 if known is None else known.busy


def _key(kind: str, megapixels: float) -> tuple[str, int]:
    return kind, round(math.log2(max(megapixels, 1 / 64)))


def _mean(before: float | None, now: float) -> float:
    return now if before is None else before + _WEIGHT * (now - before)
