"""What a process that was forked inherits: memory, and none of the threads that the engine libraries wait for.

ONNX Runtime, OpenVINO's TBB and our own pool start threads; a forked child has only the one that forked. Using an
inherited engine there can wait for ever, destroying it joins threads that do not exist, and the libraries' own exit
handlers do the same (ONNX Runtime 1.31.1 hangs, OpenVINO 2026.4 aborts). So a child refuses inherited engines in one
sentence, never destroys them, and leaves by the system's `_exit`. What it opens itself works.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from typing import Any

from harmonyrt.common import HarmonyError

_LIBRARIES = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")

_engines: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_inherited: list[Any] = []


def keep(engine: Any) -> None:
    """Remember an object whose destruction needs the threads of this process; children never destroy it."""
    _engines[id(engine)] = engine


def check_not_forked(process: int) -> None:
    """Refuse what another process opened.

    Args:
        process: id of the process that opened it.

    Raises:
        HarmonyError: this is a fork of that process.
    """
    here = os.getpid()
    if here != process:
        raise HarmonyError(
            f"this Harmonizer was opened in process {process} and this is its fork {here}, which has none of the"
            " engine's threads: open the bundle after the fork, in each process"
        )


def _functions() -> tuple[Any, ...]:
    """glibc's `on_exit`, `__cxa_atexit`, `_exit` and `fflush`; nothing elsewhere. Looked up before any fork."""
    try:
        library = ctypes.CDLL(None)
        register, at_exit = library.on_exit, library.__cxa_atexit
        leave, flush = (ctypes.cast(f, ctypes.c_void_p) for f in (library._exit, library.fflush))
    except (OSError, AttributeError, TypeError):
        return ()
    register.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    at_exit.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return register, at_exit, leave, flush


def _after_fork_in_child() -> None:
    engines = list(_engines.values())
    if not engines and not any(name in sys.modules for name in _LIBRARIES):
        return
    _inherited.append(engines)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engines))  # outlives the interpreter's end, and its members with it
    _engines.clear()
    if _glibc:
        register, at_exit, leave, flush = _glibc
        # Handlers run in the reverse order: what C programs have buffered goes out, then the process ends with its
        # status, before the handlers of libraries whose threads are not here.
        register(leave, None)
        at_exit(flush, None, None)


_glibc = _functions()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
