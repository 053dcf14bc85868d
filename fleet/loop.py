"""The loop of every fleet job: rows in, results out, some in flight; what a dead worker held is given to another one.

Where the workers live is a pool's matter (:mod:`harmonyrt.fleet.local`, :mod:`harmonyrt.fleet.on_ray`), and so is when
they start. The loop only keeps each one busy: it reads no more rows than are in flight, so a list of any length fits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from harmonyrt.common import WorkFailed

TASKS_PER_WORKER = 2  # one that runs and one that waits in the worker, so that it never waits for the driver
MOST_DEATHS = 3
"""Workers that a row may have killed, or seen die, before it counts as failed."""
LONGEST_TASK = 64  # rows
TASK_SECONDS = 1.0
"""What a task takes, about: rows are handed out in groups where each takes much less."""


class Job(Protocol):
    """What is to be done with rows. Pickled, and sent to every worker."""

    def open(self) -> Callable[[Any], Any]:
        """In the worker, once: what does one row. It must not raise for a row's own faults.

        Raises:
            HarmonyError: no worker can do this job.
        """
        ...

    def lost(self, row: Any, deaths: int) -> Any:
        """In the driver: the result of a row whose workers died."""
        ...


class WorkerDied(Exception):
    """A worker, or the machine that it was on, is gone. What it had not returned is to be done again."""


class Pool(Protocol):
    """Workers, numbered from 0. Handles are the pool's own and hashable."""

    size: int

    def start(self, worker: int) -> Any:
        """Start a worker, in place of one that may have died; the handle is done once it is ready for rows."""
        ...

    def submit(self, worker: int, rows: list[Any]) -> Any:
        """Give rows to a worker that is ready."""
        ...

    def wait(self, handles: list[Any], seconds: float) -> list[Any]:
        """Handles that are done; waits for one of them."""
        ...

    def result(self, handle: Any) -> Any:
        """What a worker returned: seconds and results; None from the start.

        Raises:
            WorkerDied: it will return nothing.
        """
        ...


@dataclass
class _Task:
    worker: int
    rows: list[Any]
    deaths: int = 0
    starts: bool = False


@dataclass
class _State:
    in_flight: dict[Any, _Task] = field(default_factory=dict)
    again: deque[tuple[list[Any], int]] = field(default_factory=deque)
    held: dict[int, list[Any]] = field(default_factory=dict)  # of each ready worker: handles, the oldest runs
    seconds_per_row: float = TASK_SECONDS
    failed_starts: int = 0


def results(job: Job, rows: Iterable[Any], pool: Pool, total: int | None = None) -> Iterator[Any]:
    """Do every row once, in no order.

    Args:
        job: what to do.
        rows: read as workers get free.
        pool: who does it.
        total: how many rows there are; towards the end they are handed out singly.

    Raises:
        HarmonyError: no worker can do this job.
        WorkFailed: workers die as soon as they start.
    """
    state, source, taken = _State(), iter(rows), 0
    for worker in range(pool.size):
        state.in_flight[pool.start(worker)] = _Task(worker, [], starts=True)
    exhausted = False
    while True:
        for worker, handles in state.held.items():
            while len(handles) < TASKS_PER_WORKER:
                if state.again and not handles:  # what saw a worker die runs alone, so that the blame is certain
                    group, deaths = state.again.popleft()
                elif exhausted or state.again:
                    break
                else:
                    group, deaths = _next(source, _group(state, pool.size, total, taken)), 0
                    taken += len(group)
                    exhausted = not group
                    if exhausted:
                        break
                handle = pool.submit(worker, group)
                handles.append(handle)
                state.in_flight[handle] = _Task(worker, group, deaths)
                if deaths:
                    break
        busy = any(not task.starts for task in state.in_flight.values())
        if not busy and not state.again and (exhausted or not state.in_flight):
            if not exhausted:
                raise WorkFailed("no worker is left; look at the machines and run again with --resume")
            return
        for handle in pool.wait(list(state.in_flight), 5.0):
            if handle in state.in_flight:
                yield from _ended(job, pool, state, handle)


def _next(source: Iterator[Any], count: int) -> list[Any]:
    group = []
    for row in source:
        group.append(row)
        if len(group) >= count:
            break
    return group


def _group(state: _State, workers: int, total: int | None, taken: int) -> int:
    """How many rows the next task gets: about a second's, and few towards the end, so that workers end together."""
    count = int(TASK_SECONDS / max(state.seconds_per_row, 1e-6))
    if total is not None:
        count = min(count, (total - taken) // (2 * TASKS_PER_WORKER * workers))
    return max(1, min(count, LONGEST_TASK))


def _ended(job: Job, pool: Pool, state: _State, handle: Any) -> Iterator[Any]:
    task = state.in_flight[handle]
    try:
        done = pool.result(handle)
    except WorkerDied:
        yield from _died(job, pool, state, task)
        return
    del state.in_flight[handle]
    if task.starts:
        state.held[task.worker] = []
        return
    yield from _answers(state, handle, task, done)


def _answers(state: _State, handle: Any, task: _Task, done: tuple[float, list[Any]]) -> list[Any]:
    state.failed_starts = 0
    state.held[task.worker].remove(handle)
    seconds, answers = done
    state.seconds_per_row += 0.2 * (seconds / max(1, len(answers)) - state.seconds_per_row)
    return answers


def _died(job: Job, pool: Pool, state: _State, task: _Task) -> Iterator[Any]:
    """What the worker held goes back, what ran with one death more; a new worker takes its place."""
    if task.starts:
        state.failed_starts += 1
        if state.failed_starts > MOST_DEATHS * pool.size:
            raise WorkFailed("workers die as soon as they start; look at their logs and at the memory of the machines")
        time.sleep(0.2)
        state.in_flight = {handle: other for handle, other in state.in_flight.items() if other is not task}
    blamed = False
    for handle in list(state.held.get(task.worker, [])):
        lost = state.in_flight.pop(handle)
        try:
            done = pool.result(handle) if lost is not task and pool.wait([handle], 0) else None
        except WorkerDied:
            done = None
        if done is not None:  # it came back before the end
            yield from _answers(state, handle, lost, done)
        elif blamed:
            state.again.append((lost.rows, lost.deaths))
        else:
            blamed, deaths = True, lost.deaths + 1
            for row in lost.rows:
                if deaths >= MOST_DEATHS and len(lost.rows) == 1:
                    yield job.lost(row, deaths)
                else:
                    state.again.append(([row], deaths))
    state.held.pop(task.worker, None)
    state.in_flight[pool.start(task.worker)] = _Task(task.worker, [], starts=True)


class Timed:
    """A job that is open, and what a pool calls in a worker: rows done, and the seconds that they took."""

    def __init__(self, job: Job) -> None:
        self._do = job.open()

    def __call__(self, rows: list[Any]) -> tuple[float, list[Any]]:
        """Do some rows."""
        started = time.perf_counter()
        answers = [self._do(row) for row in rows]
        return time.perf_counter() - started, answers
