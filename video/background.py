"""Stages of a job side by side: an iterator that runs in a thread of its own, joined to the next by a bounded queue."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


@contextlib.contextmanager
def in_background(items: Iterable[Item], most: int, name: str) -> Iterator[Iterator[Item]]:
    """Run an iterator in a thread, at most so many items ahead of who takes them.

    What it raises is raised where its items are taken. When the block ends, however it does, the thread has ended: it
    stops before its next item.

    Args:
        items: made in the thread.
        most: items that wait; memory is bounded by it.
        name: of the thread.
    """
    waiting: queue.Queue = queue.Queue(most)
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=work, name=f"harmonyrt-{name}", daemon=True)

    def taken() -> Iterator[Item]:
        while True:
            try:
                item, error = waiting.get(timeout=0.2)  # a wait that Ctrl-C may end, on every system
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()
