"""Warnings that point at the line of the program which called the runtime, however deep inside it they arise."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator

from harmonyrt.common import HarmonyWarning

Sentence = tuple[str, type[HarmonyWarning]]
_heard = threading.local()


@contextlib.contextmanager
def heard() -> Iterator[list[Sentence]]:
    """Collect what the runtime warns about in this thread, instead of handing it to Python.

    Python keeps one list of filters and one hook for the whole process: threads that work for different people cannot
    each have theirs.
    """
    before = getattr(_heard, "sentences", None)
    _heard.sentences = sentences = list[Sentence]()
    try:
        yield sentences
    finally:
        _heard.sentences = before


def warn(message: str, kind: type[HarmonyWarning] = HarmonyWarning) -> None:
    """Warn at the nearest line that is not the runtime's own.

    Args:
        message: one sentence.
        kind: `HarmonyNote` for what needs no attention.
    """
    sentences: list[Sentence] | None = getattr(_heard, "sentences", None)
    if sentences is not None:
        sentences.append((message, kind))
        return
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("harmonyrt.runtime"):
        frame = frame.f_back
    module = str(frame.f_globals.get("__name__", "<unknown>"))
    seen = frame.f_globals.setdefault("__warningregistry__", {})  # where Python notes what it has shown already
    warnings.warn_explicit(message, kind, frame.f_code.co_filename, frame.f_lineno, module, seen)
