"""What verbs print: results on stdout; what the runtime and libraries remark is collected, or dropped."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyNote, HarmonyWarning
from harmonyrt.common.progress import printable, say


def print_path(path: str | Path) -> None:
    """The path of a file that was written; unchanged for other programs, escaped on a terminal."""
    print(printable(str(path)) if sys.stdout.isatty() else path, flush=True)


def print_json(data: Any) -> None:
    """Print a result as JSON on stdout."""
    print(json.dumps(data, indent=2, default=str, allow_nan=False))


def say_passed_over(data: Path) -> None:
    """Say which files of a folder of training pictures are not used."""
    from harmonyrt.training.pictures import passed_over

    names = passed_over(data)
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        say(f"note: files of {data} that are neither a .jpg or .png nor its mask: {', '.join(names[:5])}{more}")


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collect what the runtime logs and warns about, to print once the work has succeeded.

    If it fails, the error is the only line on stderr.
    """
    lines: list[str] = []
    handler = _Collector(lines)
    logger = logging.getLogger("harmonyrt")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other packages' remarks, which tell a user nothing
        warnings.simplefilter("always", HarmonyWarning)
        warnings.showwarning = lambda message, kind, *rest: lines.append(_line(message, kind))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield lines
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print all of the project's warnings as lines on stderr; other warnings as Python does."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, HarmonyWarning):
            say(_line(message, category))
        else:
            others(message, category, *rest)

    with warnings.catch_warnings():
        warnings.simplefilter("always", HarmonyWarning)
        warnings.showwarning = show  # type: ignore[assignment]  # `rest` is what nobody reads
        yield


def _line(message: Warning | str, kind: type[Warning]) -> str:
    return f"{'note' if issubclass(kind, HarmonyNote) else 'warning'}: {message}"


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self.lines.append(f"{prefix}{record.getMessage()}")


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Drop what libraries in C print about a damaged file (libtiff does): the error that follows is clearer."""
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
