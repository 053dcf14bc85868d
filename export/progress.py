"""What a build says while it works: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Reporter(Protocol):
    """Told about the work; also a :data:`harmonyrt.export.targets.Progress`."""

    def __call__(self, doing: str, share: float | None = None) -> None:
        """Say what is being done, and the share of it that is done."""

    def step_done(self) -> None:
        """One of the announced steps is over."""


class _Lines:
    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._last = steps, 0, ""

    def __call__(self, doing: str, share: float | None = None) -> None:
        if doing != self._last:
            print(f"[{min(self._done + 1, self._steps)}/{self._steps}] {doing}", file=sys.stderr, flush=True)
            self._last = doing

    def step_done(self) -> None:
        self._done += 1


class _Bar:
    def __init__(self, progress, steps: int) -> None:
        self._progress, self._done = progress, 0
        self._task = progress.add_task("starting", total=steps)

    def __call__(self, doing: str, share: float | None = None) -> None:
        self._progress.update(self._task, description=doing, completed=self._done + 0.95 * (share or 0))

    def step_done(self) -> None:
        self._done += 1
        self._progress.update(self._task, completed=self._done)


@contextlib.contextmanager
def reporting(steps: int) -> Iterator[Reporter]:
    """Yield a reporter for a job of this many steps."""
    if not sys.stderr.isatty():
        yield _Lines(steps)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, steps)
