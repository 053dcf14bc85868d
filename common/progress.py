"""What a program says while it works: a bar on a terminal, plain lines elsewhere; always on stderr.

    with progress(len(names), "harmonizing") as step:    # a loop over things with names
    with growing_progress("measuring") as show:          # a loop that counts itself
    with reporting(steps=3) as report:                   # a job of a few announced steps, each of which takes long

`display` is what they are made of: for a job that prints its own lines.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

_SECONDS_BETWEEN_LINES = 5.0
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
"""Signs that move a terminal's cursor or worse, as a file's name may hold them, and what is shown of them."""


def say(line: str, stream: TextIO | None = None) -> None:
    """A line of chatter, on stderr unless told otherwise. Where it cannot be written, the work goes on without."""
    with contextlib.suppress(OSError, ValueError):
        print(printable(line), file=stream or sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with its control characters as escapes."""
    return text.translate(_CONTROL)


class Display:
    """A bar on a terminal; without one only :meth:`say` shows anything."""

    def __init__(self, stream: TextIO, bar: Any = None) -> None:
        self._stream, self._bar = stream, bar
        self._task = None if bar is None else bar.add_task("", total=None)

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar; where there is none, lines have to tell how far the work is."""
        return self._bar is not None

    def update(self, doing: str, done: float, total: float) -> None:
        """Set the bar's text and position."""
        if self._bar is not None:
            self._bar.update(self._task, description=printable(doing), completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            say(line, self._stream)
        else:
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def display(stream: TextIO | None = None, stays: bool = True, counts: bool = True) -> Iterator[Display]:
    """Yield the display of one job.

    Args:
        stream: stderr, unless told otherwise.
        stays: whether the bar stays on the screen when the job is over.
        counts: show steps done and the time left, instead of a percentage and the time taken.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Display(stream)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    numbers = (MofNCompleteColumn(), TimeRemainingColumn()) if counts else (TaskProgressColumn(), TimeElapsedColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *numbers)  # names may hold [brackets]
    # Results that are printed meanwhile may pass through the bar's console only where both are the same terminal.
    with Progress(
        *columns, console=Console(file=stream), transient=not stays, redirect_stdout=sys.stdout.isatty()
    ) as bar:
        yield Display(stream, bar)


@contextlib.contextmanager
def progress(total: int, doing: str) -> Iterator[Callable[[str], None]]:
    """Show how far a loop has come.

    Args:
        total: how many steps there are.
        doing: what is being done, for example ``"harmonizing"``.

    Yields:
        To be called after each step with its name.
    """
    done = 0
    with _counting(doing) as show:

        def step(name: str) -> None:
            nonlocal done
            done += 1
            show(done, total, name)

        yield step


@contextlib.contextmanager
def growing_progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """The same for a loop that counts itself: to be called with (steps done, steps in all)."""
    with _counting(doing) as show:
        yield lambda done, total: show(done, total, "")


@contextlib.contextmanager
def _counting(doing: str) -> Iterator[Callable[[int, int, str], None]]:
    said = time.monotonic()
    with display() as shown:

        def show(done: int, total: int, name: str) -> None:
            nonlocal said
            shown.update(f"{doing} {name}".strip(), done, total)
            late = time.monotonic() - said >= _SECONDS_BETWEEN_LINES
            if not shown.has_bar and (done == total or late):
                said = time.monotonic()
                say(f"{doing} {done}/{total} {name}".rstrip())

        yield show


def silent(doing: str, share: float | None = None) -> None:
    """A reporter that shows nothing."""


class Reporter(Protocol):
    """Told about a job of several steps; also a :data:`harmonyrt.export.targets.Progress`."""

    def __call__(self, doing: str, share: float | None = None) -> None:
        """Say what is being done, and the share of it that is done."""

    def step_done(self) -> None:
        """One of the announced steps is over."""


class _Steps:
    def __init__(self, shown: Display, steps: int) -> None:
        self._display, self._steps, self._done, self._last = shown, steps, 0, "starting"
        shown.update(self._last, 0, steps)

    def __call__(self, doing: str, share: float | None = None) -> None:
        self._display.update(doing, self._done + 0.95 * (share or 0), self._steps)
        if doing != self._last and not self._display.has_bar:
            self._display.say(f"[{min(self._done + 1, self._steps)}/{self._steps}] {doing}")
        self._last = doing

    def step_done(self) -> None:
        self._done += 1
        self._display.update(self._last, self._done, self._steps)


@contextlib.contextmanager
def reporting(steps: int) -> Iterator[Reporter]:
    """Yield a reporter for a job of this many steps."""
    with display(stays=False) as shown:
        yield _Steps(shown, steps)
