"""SIGINT and SIGTERM: what they do to a program, to native code that cannot be left, and to a loop that can.

Handlers can only be set in the main thread; in another one these blocks change nothing.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_BOTH = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def handled(
    numbers: tuple[int, ...], handler: Callable[[int, object], None] | signal.Handlers, ignored_too: bool = True
) -> Iterator[None]:
    """Set a handler inside the block; with `ignored_too=False` not for signals that are ignored so far.

    A shell starts programs in the background with SIGINT ignored.
    """
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in numbers:
            if ignored_too or signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextlib.contextmanager
def terminated_cleanly() -> Iterator[None]:
    """SIGTERM unwinds the stack like Ctrl-C, so that scratch files go away; the exit code is 143."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    with handled((signal.SIGTERM,), leave):
        yield


@contextlib.contextmanager
def noticed_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them, for a loop that ends after the step in hand.

    Yields:
        Those that have come so far.
    """
    came: list[int] = []
    with handled(_BOTH, lambda number, frame: came.append(number)):
        yield came


@contextlib.contextmanager
def held_signals() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM inside the block, while native code runs that calls back into Python.

    A handler's exception that is raised inside such a callback meets frames of C++ that know nothing of it: TensorRT's
    builder swallows it, or takes it for a wish to cancel, so that Ctrl-C looked like a failed engine and the build
    went on. The first signal that came is delivered at the end of the block.

    Yields:
        Whether one is held: callbacks should then ask the native code to stop.
    """
    came: list[int] = []
    try:
        with handled(_BOTH, lambda number, frame: came.append(number), ignored_too=False):
            yield lambda: bool(came)
    finally:
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def children_spared() -> Iterator[None]:
    """Around the start of child processes that are to ignore Ctrl-C, which a terminal sends to all of a program's.

    They would get it before they can say so, while Python starts. The signal waits in them until they do, by
    ``signal.signal(signal.SIGINT, signal.SIG_IGN)``, and in this process until the block's end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ended_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once, without a stack trace: while a program only imports, there is nothing to
    leave in order. Where it is ignored or handled by somebody, it stays so."""
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with handled((signal.SIGINT,) if plain else (), signal.SIG_DFL):
        yield
