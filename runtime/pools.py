"""Work shared over a pool of threads, also when the program's main thread has ended.

From then on Python's pools take no work ("cannot schedule new futures after shutdown"), while other threads may go on,
and what is registered with `atexit` is still to come. Then the work is done in the thread that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

Pool = ThreadPoolExecutor | None
"""Threads to share work over, or None to do it in the caller's."""


def submitted(pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Future[Any] | None:
    """Hand work to a pool; None where the program is ending and it takes no more."""
    try:
        return pool.submit(work, *arguments)
    except RuntimeError as error:
        if "shutdown" not in str(error):
            raise
        return None


def in_threads(work: Callable[[Any], Any], items: Iterable[Any], pool: Pool) -> list[Any]:
    """Run `work(item)` for each item, over a pool when there is one; the results. The first exception is raised."""
    if pool is None:
        return [work(item) for item in items]
    given = [(item, submitted(pool, work, item)) for item in items]
    try:
        return [work(item) if future is None else future.result() for item, future in given]
    finally:
        for _, future in given:
            if future is not None:
                future.cancel()
