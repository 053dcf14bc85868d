"""The engine room: requests wait in a bounded queue for a few threads, and are refused where waiting is no use.

All bookkeeping happens in the event loop; threads only do the work of one request each. What bounds what:

- `queue`: how many requests wait.
- The pace: a request is refused where it could not expect its turn in time (:class:`harmonyrt.serving.pace.Pace`).
- Megapixels in flight: memory. A request waits for its turn until they fit, however many threads are free.
- The deadline: a request that has not ended by then is answered so; its thread leaves it at the next stage.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from harmonyrt.serving.pace import Pace
from harmonyrt.serving.problems import ClientLeft, Problem
from harmonyrt.serving.work import Run

Result = TypeVar("Result")


@dataclass(eq=False)
class Ticket(Generic[Result]):
    """One request in the room."""

    kind: str
    megapixels: float
    work: Callable[[Run], Result]
    future: asyncio.Future[Result]
    run: Run = field(default_factory=Run)
    came: float = field(default_factory=time.monotonic)
    began: float | None = None
    alone: bool = False


class EngineRoom:
    """Runs requests in threads.

    Args:
        workers: how many at once.
        queue: how many may wait.
        megapixels: how many may be decoded at once. One request that is larger runs by itself.
        max_wait: seconds that a request may expect to wait; None to go by the pace.
    """

    def __init__(self, workers: int, queue: int, megapixels: float, max_wait: float | None = None) -> None:
        self.workers, self.queue, self.megapixels = workers, queue, megapixels
        self.pace = Pace(workers, max_wait)
        self.waiting: deque[Ticket[Any]] = deque()
        self.running: set[Ticket[Any]] = set()
        self.draining = False
        self._pool = ThreadPoolExecutor(workers, "harmonyrt-request")

    @property
    def megapixels_held(self) -> float:
        """Megapixels of the requests that run."""
        return sum(ticket.megapixels for ticket in self.running)

    def check_open(self) -> None:
        """Refuse a request that would be refused whatever it brings, before its body is read.

        Raises:
            Problem: 503 while the server stops, 429 when the queue is full.
        """
        if self.draining:
            raise Problem(503, "the server is stopping; ask another one, or try again later", {"Retry-After": "5"})
        if len(self.running) >= self.workers and (
            len(self.waiting) >= self.queue or self.pace.is_hopeless(self.waiting, self.running)
        ):
            raise self._busy(self.pace.wait(self.waiting, self.running))

    def _busy(self, seconds: float) -> Problem:
        after = str(max(1, math.ceil(seconds)))
        what = f"{len(self.running)} requests are worked on and {len(self.waiting)} wait"
        return Problem(429, f"the server is busy: {what}; try again in {after} s", {"Retry-After": after})

    async def do(
        self,
        kind: str,
        megapixels: float,
        work: Callable[[Run], Result],
        *,
        deadline: float,
        left: Callable[[], Coroutine[Any, Any, Any]] | None = None,
        run: Run | None = None,
    ) -> Result:
        """Have a request's work done, when it is its turn.

        Args:
            kind: requests of one kind and about one size take about as long: a model's name.
            megapixels: what its pictures hold.
            work: called in a thread.
            deadline: by `time.monotonic()`.
            left: what it returns ends when nobody waits for the answer any more.
            run: shows its progress and stops it; None for a new one.

        Raises:
            Problem: 429 (no room), 504 (too late).
            ClientLeft: nobody waits any more.
        """
        if len(self.running) >= self.workers or self.waiting:
            patient = self.pace.accepts(kind, megapixels, self.waiting, self.running)
            if len(self.waiting) >= self.queue or not patient:
                raise self._busy(self.pace.wait(self.waiting, self.running))
        ticket = Ticket(kind, megapixels, work, asyncio.get_running_loop().create_future(), run or Run())
        self.waiting.append(ticket)
        self._start_next()
        leaving = asyncio.ensure_future(left()) if left is not None else None
        try:
            waited: set[asyncio.Future[Any]] = {ticket.future} if leaving is None else {ticket.future, leaving}
            seconds = max(0.0, deadline - time.monotonic())
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if ticket.future.done():
                return ticket.future.result()
            if leaving is not None and leaving.done():
                raise ClientLeft
            where = "in its turn" if ticket.began is None else "while it was worked on"
            raise Problem(504, f"the request took longer than it may ({where}); send a smaller one, or try again later")
        finally:
            if leaving is not None:
                leaving.cancel()
            self._leave(ticket)

    def _leave(self, ticket: Ticket[Any]) -> None:
        if ticket.future.done():
            if not ticket.future.cancelled():
                ticket.future.exception()  # seen, even if nobody waits for it any more
            return
        ticket.run.stopped = True
        ticket.future.cancel()
        if ticket.began is None:
            self.waiting.remove(ticket)
            self._start_next()

    def _start_next(self) -> None:
        while self.waiting and len(self.running) < self.workers:
            ticket = self.waiting[0]
            if self.running and self.megapixels_held + ticket.megapixels > self.megapixels:
                return
            self.waiting.popleft()
            ticket.began = time.monotonic()
            ticket.alone = not self.running
            for other in self.running:
                other.alone = False
            ticket.run.seconds["queue"] = ticket.began - ticket.came
            self.running.add(ticket)
            done = asyncio.get_running_loop().run_in_executor(self._pool, ticket.work, ticket.run)
            done.add_done_callback(lambda future, ticket=ticket: self._ended(ticket, future))  # type: ignore[misc]

    def _ended(self, ticket: Ticket[Any], done: asyncio.Future[Any]) -> None:
        self.running.discard(ticket)
        error = None if done.cancelled() else done.exception()
        if error is None and ticket.began is not None and not ticket.run.stopped:
            self.pace.learn(ticket.kind, ticket.megapixels, time.monotonic() - ticket.began, ticket.alone)
        if not ticket.future.done():
            if done.cancelled():
                ticket.future.cancel()
            elif error is not None:
                ticket.future.set_exception(error)
            else:
                ticket.future.set_result(done.result())
        self._start_next()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, and wait for those that are in the room."""
        self.draining = True
        end = time.monotonic() + seconds
        while (self.running or self.waiting) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for ticket in [*self.waiting, *self.running]:
            ticket.run.stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
