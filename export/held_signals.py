"""Ctrl-C while native code runs that calls back into Python: held, and delivered when that code has returned.

A handler's exception that is raised inside such a callback meets frames of C++ that know nothing of it: TensorRT's
builder swallows it, or takes it for a wish to cancel, so that Ctrl-C looked like a failed engine and the build went on.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_signals() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM inside the block; the first that came is delivered at its end.

    Yields:
        Whether one is held: callbacks should then ask the native code to stop.
    """
    came: list[int] = []
    before = {}
    try:
        for number in _HELD:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # what is ignored stays ignored
                before[number] = signal.signal(number, lambda number, frame: came.append(number))
    except ValueError:  # not the main thread: handlers do not run here
        yield lambda: False
        return
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
