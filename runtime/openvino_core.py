"""The process's one OpenVINO core, and what has been loaded into it.

OpenVINO's CPU plugin gives the thread that loads it a signal stack of its own, and frees that memory when the plugin
goes (seen in 2026.4). Where another thread closes the last engine, the first is left with a stack that is gone, and its
next signal (Ctrl-C, a child's end) ends the process by a segmentation fault. So one core loads the plugin, in a thread
that ends at once, and stays as long as the process does.

OpenVINO also keeps the threads of engines that were closed, for the next one that is opened with the same settings. A
forked child has the list and not the threads, and would wait for them for ever. What empties the list is the end of a
CPU plugin, any one; so before a fork a second one is loaded under another name and unloaded (30 ms).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from harmonyrt.runtime import forks, native_calls

log = logging.getLogger("harmonyrt.runtime")

_SECOND, _PLUGIN = "HARMONYRTCPU", "openvino_intel_cpu_plugin"  # OpenVINO wants CPU in the name
_lock = threading.Lock()
_core: Any = None
_extensions: set[str] = set()  # paths that the core has loaded
_knows_second = False  # whether the core knows the second plugin's name


def core(openvino: Any) -> Any:
    """The core of this process, with the CPU's plugin loaded.

    Args:
        openvino: the imported package.

    Raises:
        Exception: what OpenVINO raises where its plugin cannot be loaded; the next call tries again.
    """
    global _core
    with _lock:
        if _core is None:
            with native_calls.inside():
                made = openvino.Core()
                forks.keep(made)
                _apart(lambda: made.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
            _core = made
        return _core


def add_extension(openvino: Any, path: str) -> None:
    """Load a library of operators into this process's core, once.

    Raises:
        Exception: what OpenVINO raises where the library does not fit; the next call tries again.
    """
    loaded = core(openvino)
    with _lock:
        if path not in _extensions:
            loaded.add_extension(path)
            _extensions.add(path)


def _apart(work: Callable[[], object]) -> None:
    """Do something in a thread that ends at once, with the signal stack that a plugin gives it."""
    failures: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=caught, name="harmonyrt-openvino", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _forget_threads() -> None:
    """Have OpenVINO let go of the threads that no engine uses."""
    made = _core
    if made is None:
        return

    def load_and_unload() -> None:
        global _knows_second
        if not _knows_second:
            made.register_plugin(_PLUGIN, _SECOND)
            _knows_second = True
        made.get_property(_SECOND, "OPTIMIZATION_CAPABILITIES")
        made.unload_plugin(_SECOND)

    try:
        _apart(load_and_unload)
    except Exception as error:  # OpenVINO raises RuntimeError and its own types
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        log.warning("a forked child may hang when it opens a bundle with OpenVINO (%s)", why)


def _after_fork_in_child() -> None:
    """The child makes its own core; :mod:`forks`, whose handler ran before this one, keeps the inherited one alive."""
    global _lock, _core, _knows_second
    _lock, _core, _knows_second = threading.Lock(), None, False
    _extensions.clear()


native_calls.call_before_fork(_forget_threads)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
