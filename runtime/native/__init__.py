"""Finds the library of fused CPU kernels that engines built with ``--rewrites native`` need (`make native`).

The kernels themselves are C++, in `src`; OpenVINO loads them as an extension.
"""

from __future__ import annotations

import os
from pathlib import Path

from harmonyrt.runtime.machine import cpu_model_and_flags

NEED = "native"
"""Key of an engine's `needs`; its value is :data:`VERSION`."""
VERSION = "1"
"""Of the operator: its inputs and attributes. Libraries compute engines of their own version."""
VARIABLE = "HARMONYRT_NATIVE_LIBRARY"
"""Environment variable: path of the library, where it is not in its usual place."""

_NAME = "libharmonyrt_native_openvino.so"
_HERE = Path(__file__).parent
_PLACES = (_HERE / "lib" / _NAME, _HERE.parents[1] / "build/native" / _NAME)


def library() -> Path | None:
    """Path of the OpenVINO extension, absolute; None if there is none."""
    named = os.environ.get(VARIABLE)
    places = (Path(named),) if named else _PLACES
    return next((place.absolute() for place in places if place.is_file()), None)


def why_not(needed: str | None) -> str | None:
    """Why an engine cannot have its kernels here, with what to do; None when it can, or needs none.

    Args:
        needed: what its manifest says under :data:`NEED`.
    """
    if needed is None:
        return None
    if needed != VERSION:
        return f"it needs native kernels of version {needed}, found {VERSION}: build the bundle again"
    flags = cpu_model_and_flags()[1]
    if not {"avx2", "fma"} <= flags:
        return "its native kernels need a CPU with AVX2 and FMA: build it without --rewrites native"
    if library() is None:
        named = os.environ.get(VARIABLE)
        found = f"{VARIABLE} names {named}, which is no file" if named else "they are not built here"
        return f"it needs the native kernels, and {found}: run make native, or build it without --rewrites native"
    return None
