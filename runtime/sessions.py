"""A bounded set of sessions that threads take turns with: checked out for one run, made when first needed."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed
from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime import native_calls
from harmonyrt.runtime.forks import check_not_forked

log = logging.getLogger("harmonyrt.runtime")

Network = TypeVar("Network")


class Sessions(Generic[Network]):
    """Networks that share their weights, each with separate buffers.

    Args:
        first: one that is open.
        another: makes one more that shares the first one's weights; called by one thread at a time.
        most: how many there may be.
        close: gives everything back; called once, when nobody works any more.
    """

    def __init__(
        self, first: Network, another: Callable[[], Network], most: int, close: Callable[[], None] = lambda: None
    ) -> None:
        self.most = most
        self._another, self._close = another, close
        self._process = os.getpid()
        self._changed = threading.Condition()  # over a lock that its own thread may take again: signal handlers
        self._growing = threading.Lock()
        self._free: list[Network] = [first]
        self._made = 1
        self._holders: list[int] = []  # threads that have one checked out
        self._workers: list[int] = []  # threads inside a call
        self._closed = self._gone = False
        self._left_to_last = False  # a call closed what it runs on

    def check(self) -> None:
        """Raises HarmonyError where nothing can run any more: closed, in a forked child, or at Python's end."""
        check_not_forked(self._process)
        native_calls.check_not_finalizing()
        if self._closed:
            raise HarmonyError("this Harmonizer is closed; open the bundle again")

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Around a whole call: closing waits until it has ended."""
        here = threading.get_ident()
        check_not_forked(self._process)  # before the lock, which a thread that is not here may have held
        with self._changed:
            self.check()
            self._workers.append(here)
        try:
            yield
        finally:
            with self._changed:
                self._workers.remove(here)
                self._changed.notify_all()
                last = self._left_to_last and not self._workers
            if last:
                self._give_back()

    @contextlib.contextmanager
    def checked_out(self) -> Iterator[Network]:
        """One for this thread alone; waits while all are taken.

        One that fails (anything but wrong input, memory that ran out, or the caller's own wish to stop) is left, and a
        new one is made when it is needed.

        Raises:
            HarmonyError: all are taken and this thread has one of them (a callback that calls harmonize()), so that
                waiting would never end.
        """
        network = self._take()
        broken = False
        try:
            yield network
        except Exception as error:
            harmless = isinstance(error, Cancelled | OutOfMemory | MemoryError)
            broken = not harmless and (not isinstance(error, HarmonyError) or isinstance(error, WorkFailed))
            raise
        finally:
            with self._changed:
                self._holders.remove(threading.get_ident())
                if broken:
                    self._made -= 1
                else:
                    self._free.append(network)
                self._changed.notify()

    def _take(self) -> Network:
        here = threading.get_ident()
        with self._changed:
            while not self._free and self._made >= self.most:
                if here in self._holders:
                    raise HarmonyError(
                        "a call was made from inside another call of the same thread, and no session is free: make it"
                        f" after that call, or open the bundle with sessions={self.most + 1}"
                    )
                native_calls.check_not_ending_here()
                self._changed.wait()
            self._holders.append(here)
            if self._free:
                return self._free.pop()
            self._made += 1
        try:
            with self._growing:
                return self._another()
        except BaseException as error:
            with self._changed:
                self._made -= 1
                self._holders.remove(here)
                self._changed.notify()
                if not isinstance(error, WorkFailed) or self._made == 0:
                    raise
                self.most = self._made
            log.warning("one more session cannot be had (%s); going on with %d", error, self.most)
            return self._take()

    def close(self) -> None:
        """Refuse new calls, wait for those that run, give everything back. Called inside a call, it does not wait.

        In a forked child nothing is released: it belongs to the process that opened it. Nor is anything when Python
        ends and a call of another thread will never end.
        """
        if os.getpid() != self._process:
            self._closed = True
            return
        with self._changed:
            self._closed = True
            if threading.get_ident() in self._workers:
                self._left_to_last = True
                return
            while self._workers:
                if native_calls.is_ending_here():
                    return
                self._changed.wait()
        self._give_back()

    def _give_back(self) -> None:
        with self._changed:
            if self._gone:
                return
            self._gone = True
        with native_calls.inside():
            self._free.clear()
            del self._another
            self._close()
