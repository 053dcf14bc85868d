"""Jobs for the fleet's loop and pools that are at fault in one way each. Workers import them by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError


@dataclass(frozen=True)
class Squares:
    """Squares numbers; a worker dies of numbers in `deadly`, every time, or only the first time (with a `folder`)."""

    deadly: tuple[int, ...] = ()
    folder: str | None = None
    seconds: float = 0.0

    def open(self) -> Any:
        return self.do

    def do(self, number: int) -> tuple[int, int]:
        time.sleep(self.seconds)
        if number in self.deadly:
            seen = None if self.folder is None else Path(self.folder) / str(number)
            if seen is None or not seen.exists():
                if seen is not None:
                    seen.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return number, number * number

    def lost(self, number: int, deaths: int) -> tuple[int, int]:
        return number, -deaths


@dataclass(frozen=True)
class NeverOpens:
    """No worker can do this."""

    sentence: str

    def open(self) -> Any:
        raise HarmonyError(self.sentence)

    def lost(self, row: Any, deaths: int) -> Any:
        return None
