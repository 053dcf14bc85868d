"""Warnings that point at the line of the program which called the runtime, however deep inside it they arise."""

from __future__ import annotations

import sys
import warnings

from harmonyrt.common import HarmonyWarning


def warn(message: str, kind: type[HarmonyWarning] = HarmonyWarning) -> None:
    """Warn at the nearest line that is not the runtime's own.

    Args:
        message: one sentence.
        kind: `HarmonyNote` for what needs no attention.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("harmonyrt.runtime"):
        frame = frame.f_back
    module = str(frame.f_globals.get("__name__", "<unknown>"))
    seen = frame.f_globals.setdefault("__warningregistry__", {})  # where Python notes what it has shown already
    warnings.warn_explicit(message, kind, frame.f_code.co_filename, frame.f_lineno, module, seen)
