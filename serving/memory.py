"""glibc's allocator, told that this program will need again what it frees.

Left alone, glibc returns the memory of a picture to the system at the end of a request and fetches it back, page by
page, at the next one: 5,400 page faults and a quarter more CPU for a pair of 2 megapixels, measured with OpenVINO at
128 pixels. What is kept would grow for hours all the same, since requests of many sizes leave gaps between what
lives: every few seconds the pages of these gaps go back.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

# Numbers and limits: malloc.h and mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 512 << 20
_LARGEST_THRESHOLD = 32 << 20
_WORK = 0.2  # seconds of CPU since the last time, without which there is nothing to give back


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process; to be called before threads start.

    Returns:
        False where the C library is another one.
    """
    mallopt = _of_c_library("mallopt")
    if mallopt is None:
        return False
    one_arena = mallopt(_ARENA_MAX, 1)  # those of other threads are taken apart when they are empty
    return bool(one_arena and mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _KEPT))


@contextlib.contextmanager
def giving_back(seconds: float = 5.0) -> Iterator[None]:
    """Meanwhile, what requests left goes every `seconds`: cycles of objects, then unused pages (these with glibc only).

    A refused request's error refers to itself through its traceback, and holds what had come of the body. Python
    looks for such cycles the more rarely the more objects it has; those of today, of the engine and its libraries, it
    need not look at again. It takes a few milliseconds each time; pages that the next request misses come back.
    """
    trim = _of_c_library("malloc_trim")
    over = threading.Event()
    gc.collect()
    gc.freeze()

    def work() -> None:
        before = time.process_time()
        while not over.wait(seconds):
            if time.process_time() - before > _WORK:
                gc.collect()
                if trim is not None:
                    trim(ctypes.c_size_t(0))
                before = time.process_time()

    thread = threading.Thread(target=work, name="harmonyrt-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.unfreeze()


def _of_c_library(name: str) -> Any:
    """A function of glibc's; None where the C library is another one."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
