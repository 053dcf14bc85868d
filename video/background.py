"""Stages of a job side by side: an iterator that runs in a separate thread, joined to the next by a bounded queue."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()
_PATIENCE = 1.0  # seconds that a stage may take to notice the end, where it may be waiting for a pipe


@contextlib.contextmanager
def in_background(
    items: Iterable[Item], most: int, name: str, stop: threading.Event, may_block: bool = False
) -> Iterator[Iterator[Item]]:
    """Run an iterator in a thread, at most so many items ahead of who takes them.

    What it raises is raised where its items are taken. When the block ends, however it does, the thread has ended: it
    stops before its next item.

    Args:
        items: made in the thread.
        most: items that wait; memory is bounded by it.
        name: of the thread.
        stop: set when the job is over, for all of its stages; the block sets it when it ends.
        may_block: the iterator may wait for a pipe for ever; it is then left to itself.
    """
    waiting: queue.Queue = queue.Queue(most)

    def put(item: object) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=work, name=f"harmonyrt-{name}", daemon=True)

    def taken() -> Iterator[Item]:
        while not stop.is_set():
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
        thread.join(_PATIENCE if may_block else None)
