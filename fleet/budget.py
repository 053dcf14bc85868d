"""A bound on the megapixels that all workers of a machine hold decoded at the same time.

It is made of file locks, which the system lets go when a process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: each worker holds one picture at a time, and --max-megapixels bounds that one
    fcntl = None  # type: ignore[assignment]

SLOTS = 64
_ABANDONED = 30 * 86400  # seconds
BYTES_PER_PIXEL = 64
"""What a worker holds of a picture at its worst: file, pixels, floats of the edit, encoded output."""


def _fitting() -> float:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    return memory / 2 / BYTES_PER_PIXEL / 1e6


class Budget:
    """A number of megapixels for all workers of one run on this machine.

    Args:
        run: a name that the workers of a run share.
        megapixels: a picture that is larger than all of it has the machine to itself. None takes what fits into half
            of the machine's memory.
    """

    def __init__(self, run: str, megapixels: float | None) -> None:
        self._megapixels = megapixels or _fitting()
        self._folder = _folder(run)
        if self.bounded:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep(self._folder)

    @property
    def bounded(self) -> bool:
        """Whether there is a bound."""
        return fcntl is not None

    @contextlib.contextmanager
    def held(self, megapixels: float, waiting: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Hold the share of a picture of this size inside the block.

        Args:
            megapixels: of the picture.
            waiting: entered while others hold too much.
        """
        if not self.bounded or not megapixels:
            yield
            return
        need = max(1, min(SLOTS, math.ceil(SLOTS * megapixels / self._megapixels)))
        with contextlib.ExitStack() as stack:
            with waiting(), open(self._folder / "turn", "w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)  # one collects at a time: nobody waits with half of what he needs
                self._collect(need, stack)
            yield

    def _collect(self, need: int, stack: contextlib.ExitStack) -> None:
        held: set[int] = set()
        while True:
            for slot in range(SLOTS):
                if slot not in held and len(held) < need:
                    file = open(self._folder / f"slot-{slot}", "w")  # noqa: SIM115
                    if _locked(file):
                        stack.enter_context(file)
                        held.add(slot)
                    else:
                        file.close()
            if len(held) >= need:
                return
            time.sleep(0.005)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def forget(run: str) -> None:
    """Remove the locks of a run that has ended, on this machine."""
    shutil.rmtree(_folder(run), ignore_errors=True)


def _folder(run: str) -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"harmonyrt-{user}" / run


def _sweep(own: Path) -> None:
    """Remove the locks of runs of long ago whose drivers were on other machines."""
    with contextlib.suppress(OSError):
        for folder in own.parent.iterdir():
            newest = max((path.stat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)
            if folder != own and time.time() - newest > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
