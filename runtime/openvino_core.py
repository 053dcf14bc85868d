"""The process's one OpenVINO core, and what has been loaded into it.

OpenVINO's CPU plugin gives the thread that loads it a signal stack of its own, and frees that memory when the plugin
goes (seen in 2026.4). Where another thread closes the last engine, the first is left with a stack that is gone, and its
next signal (Ctrl-C, a child's end) ends the process by a segmentation fault. So one core loads the plugin, in a thread
that ends at once, and stays as long as the process does.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from harmonyrt.runtime import forks

_lock = threading.Lock()
_cores: dict[int, Any] = {}  # by process: a fork makes its own, and never destroys the one that it inherits
_extensions: set[tuple[int, str]] = set()


def core(openvino: Any) -> Any:
    """The core of this process, with the CPU's plugin loaded.

    Args:
        openvino: the imported package.

    Raises:
        Exception: what OpenVINO raises where its plugin cannot be loaded; the next call tries again.
    """
    with _lock:
        found = _cores.get(os.getpid())
        if found is None:
            found = openvino.Core()
            forks.keep(found)
            _load_plugin(found)
            _cores[os.getpid()] = found
        return found


def add_extension(openvino: Any, path: str) -> None:
    """Load a library of operators into this process's core, once.

    Raises:
        Exception: what OpenVINO raises where the library does not fit; the next call tries again.
    """
    loaded = core(openvino)
    with _lock:
        if (os.getpid(), path) not in _extensions:
            loaded.add_extension(path)
            _extensions.add((os.getpid(), path))


def _load_plugin(made: Any) -> None:
    failures: list[BaseException] = []

    def load() -> None:
        try:
            made.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=load, name="harmonyrt-openvino", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
