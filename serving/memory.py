"""glibc's allocator, told that this program will need again what it frees.

Left alone, glibc returns the memory of a picture to the system at the end of a request and fetches it back, page by
page, at the next one: 5,400 page faults and a quarter more CPU for a pair of 2 megapixels, measured with OpenVINO at
128 pixels. How much can be kept is bounded by what runs at once, which admission bounds.
"""

from __future__ import annotations

import ctypes

# Numbers and limits: malloc.h and mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 512 << 20
_LARGEST_THRESHOLD = 32 << 20


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process; to be called before threads start.

    Returns:
        False where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    one_arena = mallopt(_ARENA_MAX, 1)  # those of other threads are taken apart when they are empty
    return bool(one_arena and mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _KEPT))
