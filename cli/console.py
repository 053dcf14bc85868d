"""What verbs say: results on stdout, chatter on stderr, a bar for long work on a terminal and plain lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


def say(line: str) -> None:
    """A line of chatter."""
    print(line, file=sys.stderr, flush=True)


def print_json(data: Any) -> None:
    """A result for programs."""
    print(json.dumps(data, indent=2, default=str, allow_nan=False))


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collect what the runtime logs and warns about, to be said once the work has gone well.

    An error then stands alone on stderr.
    """
    from harmonyrt.runtime.masks import HarmonyWarning

    lines: list[str] = []
    handler = _Collector(lines)
    logger = logging.getLogger("harmonyrt")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other packages' remarks, which tell a user nothing
        warnings.simplefilter("always", HarmonyWarning)
        warnings.showwarning = lambda message, *rest: lines.append(f"warning: {message}")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield lines
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self.lines.append(f"{prefix}{record.getMessage()}")


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Drop what libraries in C print about a damaged file (libtiff does): the error that follows says it better."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(null)
        os.close(kept)


@contextlib.contextmanager
def progress(total: int, doing: str) -> Iterator[Callable[[str], None]]:
    """Show how far a loop has come: a bar on a terminal, a line every few seconds elsewhere.

    Args:
        total: how many steps there are.
        doing: what is being done, for example ``"harmonizing"``.

    Yields:
        To be called after each step with its name.
    """
    done = 0
    with _shown(doing) as show:

        def step(name: str) -> None:
            nonlocal done
            done += 1
            show(done, total, name)

        yield step


@contextlib.contextmanager
def growing_progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """The same for a loop that counts itself: to be called with (steps done, steps in all)."""
    with _shown(doing) as show:
        yield lambda done, total: show(done, total, "")


@contextlib.contextmanager
def _shown(doing: str) -> Iterator[Callable[[int, int, str], None]]:
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Results that are printed meanwhile may pass through the bar's console only where both are the same terminal.
        with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
            task = bar.add_task(doing, total=None)
            yield lambda done, total, name: bar.update(
                task, completed=done, total=total, description=f"{doing} {name}".strip()
            )
        return
    said = time.monotonic()

    def show(done: int, total: int, name: str) -> None:
        nonlocal said
        if done == total or time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            say(f"{doing} {done}/{total} {name}".rstrip())

    yield show
