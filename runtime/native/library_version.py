"""What a library of kernels says of itself, before an engine is handed over that it may not know."""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path

_FUNCTION = "harmonyrt_native_version"
_FIRST = 1
"""Version of libraries that do not tell it."""


def version_of(path: Path, backend: str) -> int | None:
    """The newest version of the operators that a library computes; those of versions before it, it computes too.

    Args:
        path: of the library, absolute. It is loaded, as it is when an engine opens.
        backend: whose library it is. OpenVINO's is linked with OpenVINO, which has to be loaded first.

    Returns:
        None where OpenVINO is not installed: then nothing can be said, and nothing will run.

    Raises:
        OSError: it cannot be loaded, for example since it was built with another OpenVINO.
    """
    if backend == "openvino":
        try:
            importlib.import_module("openvino")
        except ImportError:
            return None
    try:
        function = getattr(ctypes.CDLL(str(path)), _FUNCTION)
    except AttributeError:
        return _FIRST
    function.argtypes, function.restype = [], ctypes.c_int
    return int(function())
